"""Show the audit log: `python3 cli.py log [--user U] [--slice N] [--last N] [--json]`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from menu.screen import Screen
from menu.texts import NOTHING, seconds

Entry = Mapping[str, Any]


def show(entries: Iterable[Entry], args: Namespace, screen: Screen) -> None:
    """Show the requested entries, oldest first, one line each. `--json` is for programs."""
    for entry in deque((entry for entry in entries if _is_wanted(entry, args)), args.last):
        screen.line(json.dumps(entry) if args.json else _line(entry))


def _is_wanted(entry: Entry, args: Namespace) -> bool:
    return args.of in {None, entry["actor"]} and args.slice in {None, entry["slice"]}


def _line(entry: Entry) -> str:
    """Return a line such as `2026-11-21T09:30:00Z  alice  deploy slice 1000  12.30 s  ok`."""
    what = str(entry["action"])
    for kind in ("slice", "vm"):
        if entry[kind] is not None:
            what += f" {entry[kind]}" if what.endswith(f" {kind}") else f" {kind} {entry[kind]}"
    took = entry["seconds"]
    duration = seconds(took) if isinstance(took, int | float) else NOTHING
    actor = f"{entry['actor']} (by {entry['by']})" if entry["by"] else str(entry["actor"])
    parts = [entry["time"], actor, what, duration, str(entry["result"])]
    if entry["count"] != 1:
        parts.append(f"({entry['count']} times, last {entry['last']})")
    return "  ".join(parts)

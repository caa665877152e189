"""The audit log on the screen: `python3 cli.py log [--user U] [--slice N] [--last N] [--json]`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from menu.facts import NOTHING, seconds
from menu.screen import Screen

Entry = Mapping[str, Any]


def show(entries: Iterable[Entry], wish: Namespace, screen: Screen) -> None:
    """The entries that were asked for, oldest first: a line each, for people or, with `--json`, for programs."""
    for entry in deque((entry for entry in entries if _is_wanted(entry, wish)), wish.last):
        screen.line(json.dumps(entry) if wish.json else _line(entry))


def _is_wanted(entry: Entry, wish: Namespace) -> bool:
    return wish.of in {None, entry["actor"]} and wish.slice in {None, entry["slice"]}


def _line(entry: Entry) -> str:
    """`2026-11-21T09:30:00Z  alice  deploy slice 1000  12.30 s  ok`."""
    what = [str(entry["action"])]
    what += [f"{kind} {entry[kind]}" for kind in ("slice", "vm") if entry[kind] is not None]
    took = entry["seconds"]
    duration = seconds(took) if isinstance(took, int | float) else NOTHING
    parts = [entry["time"], str(entry["actor"]), " ".join(what), duration, str(entry["result"])]
    if entry["count"] != 1:
        parts.append(f"({entry['count']} times, last {entry['last']})")
    return "  ".join(parts)

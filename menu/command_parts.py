"""Share the parts of all commands about slices: exit statuses, standard error, and the slice that SLICE means."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from contextlib import suppress
from typing import TYPE_CHECKING

from core.results import value_of
from menu.screen import Screen, clean, on_terminal
from models import Slice

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI

DONE, REFUSED, INCOMPLETE = 0, 1, 3
"""Exit statuses: done; refused, nothing was done; done, with something replaced or left out, or with a warning."""


def say(*lines: str) -> None:
    """Write lines to standard error."""
    with suppress(OSError, ValueError):
        for line in lines:
            sys.stderr.write(f"{clean(line)}\n")
        sys.stderr.flush()


def slice_of(api: OrchestratorAPI, args: Namespace) -> Slice:
    """Return the slice that SLICE means to the user; raise `CloudError` where it means none, or several."""
    return value_of(api.find_slice(args.actor, args.slice))


def show_json(screen: Screen, record: object) -> None:
    """Write a record as one line of JSON."""
    screen.line(json.dumps(record))


def errors_screen() -> Screen:
    """Return the screen of progress, questions and waits: standard error."""
    return Screen(sys.stderr, terminal=on_terminal(sys.stderr.fileno()))

"""Carry out the commands about slices: the use-cases of the menu's entries, for the user that `--as` names."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Refused
from core.results import value_of
from menu import plans
from menu.screen import Screen, clean
from menu.texts import counted
from models import Slice

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI

MAX_BYTES = 1 << 20
"""The most bytes of a slice file. Its reader refuses a longer one."""

DONE, REFUSED, INCOMPLETE = 0, 1, 3
"""Exit statuses: done; refused, nothing was done; done, with something replaced or left out."""


def show_plan(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show what a deployment of a slice does; return the exit status."""
    slice_ = slice_of(api, args)
    plan = value_of(api.plan_slice(args.actor, slice_.slice_id))
    plans.show(screen, plan, plans.Depth(args.depth), slice_, args.actor)
    return DONE


def validate(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Check a slice file; show what it makes, or all its faults on standard error. Return the exit status."""
    succeeded, value = api.read_design(args.actor, read_file(args.file))
    if isinstance(value, str) or not succeeded:
        say(*(f"Error: {args.file}, {fault}" for fault in str(value).splitlines()))
        return REFUSED
    vms, links = counted(len(value.vms), "VM"), counted(len(value.links), "link")
    screen.line(f"{args.file}: slice {value.name}: {vms}, {links}")
    return DONE


def export(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Write a slice as a slice file to standard output; return the exit status."""
    from topology.of_slice import design_of  # noqa: PLC0415 - not needed for the menu's first prompt
    from topology.writer import write  # noqa: PLC0415 - as above

    design, notices = design_of(slice_of(api, args))
    screen.data(write(design))
    say(*(f"Warning: {notice}" for notice in notices))
    return INCOMPLETE if notices else DONE


def convert(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Write a topology of another tool as a slice file to standard output; return the exit status."""
    text, notices = value_of(api.convert_topology(args.actor, read_file(args.file), args.tool or ""))
    screen.data(text)
    say(*(f"Warning: {notice}" for notice in notices))
    return INCOMPLETE if notices else DONE


def graph(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show the picture of a slice; return the exit status."""
    from topology import picture  # noqa: PLC0415 - not needed for the menu's first prompt

    seen = picture.picture_of(slice_of(api, args))
    if args.format == "svg":
        from remote.programs import output_of  # noqa: PLC0415 - as above

        screen.data(output_of(("neato", "-Tsvg"), "\n".join(picture.as_dot(seen)), "graphviz"))
        return DONE
    lines = {"text": picture.as_text, "mermaid": picture.as_mermaid, "dot": picture.as_dot}[args.format](seen)
    screen.data("".join(f"{line}\n" for line in lines))
    return DONE


def read_file(word: str) -> str:
    """Return the text of a file, or of standard input for `-`; raise `Refused` with what to do."""
    try:
        if word == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(word).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        return content.decode()
    except OSError as fault:
        raise Refused(f"{word} cannot be read ({fault.strerror}); name a file that you may read") from fault
    except UnicodeDecodeError as fault:
        raise Refused(f"{word} is not UTF-8 text; save it as UTF-8") from fault


def say(*lines: str) -> None:
    """Write lines to standard error."""
    for line in lines:
        sys.stderr.write(f"{clean(line)}\n")


def slice_of(api: OrchestratorAPI, args: Namespace) -> Slice:
    """Return the slice that SLICE means to the user; raise `CloudError` where it means none, or several."""
    return value_of(api.find_slice(args.actor, args.slice))


COMMANDS = {"plan": show_plan, "validate": validate, "export": export, "convert": convert, "graph": graph}
"""Commands about slices, by name."""

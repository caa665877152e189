"""Carry out the commands about slice files, foreign topologies and pictures."""

from __future__ import annotations

import os
import select
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Refused
from core.results import value_of
from menu.command_parts import DONE, INCOMPLETE, REFUSED, errors_screen, say, show_json, slice_of
from menu.json_records import picture_record
from menu.progress import Progress
from menu.screen import GOOD, Screen
from menu.texts import counted, demand_line
from menu.words import USAGE

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI
    from topology.design import Design

MAX_BYTES = 1 << 20
"""The most bytes of a slice file. Its reader refuses a longer one."""

SILENT_SECONDS = 1800.0
"""Seconds without a byte after which standard input is given up."""


def validate(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Check a slice file; show what it makes, or all its faults on standard error. Return the exit status."""
    from topology.faults import BadSliceFile  # noqa: PLC0415 - not needed for the menu's first prompt

    text = read_file(args.file)
    try:
        value = value_of(api.designs.read(args.actor, text))
    except BadSliceFile as bad:
        if not args.json:
            return _show_faults(args.file, str(bad))
        show_json(screen, {"valid": False, "faults": [fault._asdict() for fault in bad.faults]})
        return REFUSED
    counts = {"VM": len(value.vms), "link": len(value.links), "goal": len(value.goals)}
    if args.json:
        show_json(screen, {"valid": True, "slice": value.name} | {f"{kind.lower()}s": n for kind, n in counts.items()})
        return DONE
    parts = [counted(number, kind) for kind, number in counts.items() if number or kind != "goal"]
    screen.line(f"{args.file}: slice {value.name}: {', '.join(parts)}")
    return DONE


def create(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Create a slice from a slice file or a template, or only check it; return the exit status."""
    if args.template and not args.name:
        say("Error: a template needs --name; cli.py create --help says more")
        return USAGE
    if args.file and (args.flavor or args.internet):
        say("Error: --flavor and --internet are for --template; a file says both for each VM")
        return USAGE
    design = _template(api, args) if args.template else design_of_file(api, args)
    if design is None:
        return REFUSED
    return create_from(api, args, screen, design, args.template or args.file, args.realm)


def create_from(
    api: OrchestratorAPI, args: Namespace, screen: Screen, design: Design, source: str, realm: str = ""
) -> int:
    """Create a slice from a design, or only say what it needs; return the exit status."""
    say(demand_line(source, value_of(api.designs.demand(args.actor, design))))
    if args.dry_run:
        value_of(api.designs.plan(args.actor, design, realm))
        say("Nothing was created: --dry-run")
        return DONE
    with Progress(errors_screen()) as listen:
        answer = api.designs.create(args.actor, design, listen, realm=realm)
    slice_id = value_of(answer).slice_id
    if args.json:
        show_json(screen, {"slice_id": slice_id})
    else:
        screen.line(f"Slice created! ID: {slice_id}", GOOD)
    return DONE


def design_of_file(api: OrchestratorAPI, args: Namespace) -> Design | None:
    """Return the design of a slice file, with the name of `--name`; None after its faults are shown."""
    from topology.faults import BadSliceFile  # noqa: PLC0415 - not needed for the menu's first prompt

    try:
        design = value_of(api.designs.read(args.actor, read_file(args.file)))
    except BadSliceFile as faults:
        _show_faults(args.file, str(faults))
        return None
    return replace(design, name=args.name or design.name)


def _template(api: OrchestratorAPI, args: Namespace) -> Design:
    """Return the design of a template."""
    from topology.templates import make  # noqa: PLC0415 - not needed for the menu's first prompt

    flavor = args.flavor or next(iter(value_of(api.flavors(args.actor))))
    return make(args.template, args.name, flavor, args.internet or "none")


def _show_faults(file: str, faults: str) -> int:
    """Show all faults of a slice file on standard error; return the exit status."""
    say(*(f"Error: {file}{', ' if fault.startswith('line ') else ': '}{fault}" for fault in faults.splitlines()))
    return REFUSED


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
    text, notices = value_of(api.designs.convert(args.actor, read_file(args.file), args.tool or ""))
    screen.data(text)
    say(*(f"Warning: {notice}" for notice in notices))
    return INCOMPLETE if notices else DONE


def graph(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show the picture of a slice; return the exit status."""
    from topology import picture  # noqa: PLC0415 - not needed for the menu's first prompt

    seen = picture.picture_of(slice_of(api, args))
    if args.json:
        show_json(screen, picture_record(seen))
        return DONE
    if args.format == "svg":
        from remote.own_machine import output_of  # noqa: PLC0415 - as above

        screen.data(output_of(("neato", "-Tsvg"), "\n".join(picture.as_dot(seen)), "graphviz"))
        return DONE
    lines = {"text": picture.as_text, "mermaid": picture.as_mermaid, "dot": picture.as_dot}[args.format](seen)
    if args.format == "text" and not screen.is_utf8:
        lines = picture.in_ascii(lines)
    screen.data("".join(f"{line}\n" for line in lines))
    return DONE


def read_file(word: str) -> str:
    """Return the text of a file, or of standard input for `-`; raise `Refused` with what to do."""
    try:
        if word == "-":
            content = _standard_input()
        else:
            if Path(word).exists() and not Path(word).is_file():
                raise Refused(f"{word} is not a file; name a file, or - for standard input")
            with Path(word).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        return content.decode("utf-8-sig")  # editors of Windows begin a file with a byte-order mark
    except OSError as fault:
        raise Refused(f"{word} cannot be read ({fault.strerror}); name a file that you may read") from fault
    except UnicodeDecodeError as fault:
        raise Refused(f"{word} is not UTF-8 text; save it as UTF-8") from fault


def _standard_input() -> bytes:
    """Return standard input, and at most one byte more than a file may have; raise `Refused` where it stays silent.

    A session that waits for ever would keep its place among those of the account.
    """
    descriptor, content = sys.stdin.fileno(), b""
    while len(content) <= MAX_BYTES:
        if not select.select([descriptor], [], [], SILENT_SECONDS)[0]:
            raise Refused(f"Standard input was silent for {SILENT_SECONDS / 60:g} min; send the file again")
        piece = os.read(descriptor, MAX_BYTES + 1 - len(content))
        if not piece:
            break
        content += piece
    return content

"""Carry out the commands about slices: the use-cases of the menu's entries, for the user that `--as` names."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from accounts import rights
from core.errors import Refused
from core.results import value_of
from menu import plans
from menu.arguments import USAGE
from menu.entries import deletion_question, join_console, resources_of, show_repaired
from menu.keyboard import Keyboard, Lines
from menu.progress import Progress
from menu.prompts import Back, Prompts
from menu.screen import GOOD, Screen, clean, on_terminal
from menu.session import Session
from menu.texts import by_id, counted, demand_line, slice_title
from menu.views import SlicesView, SliceView
from models import Slice

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI
    from topology.design import Design

MAX_BYTES = 1 << 20
"""The most bytes of a slice file. Its reader refuses a longer one."""

DONE, REFUSED, INCOMPLETE = 0, 1, 3
"""Exit statuses: done; refused, nothing was done; done, with something replaced or left out, or with a warning."""

NEEDS_YES = "delete asks before it removes {}; without a terminal to ask on, it needs --yes"
NEEDS_TERMINAL = "console joins a terminal with the VM: call it without a pipe, and over ssh with -t"


def carry_out(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Carry out a command for the user that `--as` names; return the exit status."""
    value_of(api.operate_for(args.actor))
    try:
        status = COMMANDS[args.command](api, args, screen)
    finally:
        warning = api.warning()
        if warning:
            say(f"Warning: {warning}")
    return INCOMPLETE if warning and status == DONE else status


def list_slices(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """List the slices of a user, all for an admin; return the exit status."""
    slices = by_id(value_of(api.list_slices(args.actor)))
    if args.json:
        _show_json(screen, {"slices": [_summary(slice_) for slice_ in slices]})
    elif slices:
        screen.show(SlicesView(slices, args.actor))
    else:
        say(f"{args.actor} has no slices yet")
    return DONE


def show_slice(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show a slice with its problems, or its record; return the exit status."""
    found = slice_of(api, args)
    slice_ = found if args.secrets else found.without_secrets()
    if args.json:
        _show_json(screen, slice_.to_dict())
        return DONE
    with _errors().waiting("Looking at the hosts"):
        problems = value_of(api.problems(args.actor, slice_.slice_id))
    screen.show(SliceView(slice_, args.actor, problems.get(slice_.slice_id)))
    return DONE


def show_quota(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show a user's quota, the workers and the flavors; return the exit status."""
    view = resources_of(api, args.actor, _errors())
    if not args.json:
        screen.show(view)
        return DONE
    quota = {"used_vms": view.user.used_vms, "quota_vms": view.user.quota_vms}
    slices = {"used_slices": len(view.user.slices), "quota_slices": view.most_slices}
    workers = {address: asdict(worker) for address, worker in view.workers.items()}
    flavors = {name: flavor.to_dict() for name, flavor in view.flavors.items()}
    _show_json(screen, quota | slices | {"workers": workers, "flavors": flavors})
    return DONE


def deploy(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Deploy a slice, with progress on standard error; return the exit status."""
    slice_ = slice_of(api, args)
    if args.dry_run:
        rights.require_deployable(slice_)
        return _show_change(api, args, screen, slice_)
    with Progress(_errors()) as listen:
        answer = api.deploy_slice(args.actor, slice_.slice_id, listen)
    value_of(answer)
    screen.line("Slice deployed successfully", GOOD)
    return DONE


def repair(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Repair a slice, with progress on standard error, and show the parts brought back; return the exit status."""
    slice_ = slice_of(api, args)
    if args.dry_run:
        rights.require_running(slice_)
        return _show_change(api, args, screen, slice_)
    with Progress(_errors()) as listen:
        answer = api.repair_slice(args.actor, slice_.slice_id, listen)
    show_repaired(value_of(answer), screen)
    return DONE


def delete(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Delete a slice after a question, with progress on standard error; return the exit status."""
    slice_ = slice_of(api, args)
    if args.dry_run:
        plan = value_of(api.plan_deletion(args.actor, slice_.slice_id))
        plans.show(screen, plan, plans.Depth.TITLES, slice_, args.actor, "delete")
        return DONE
    if not args.yes and not _agrees(slice_, args.actor):
        say("Nothing was deleted")
        return REFUSED
    with Progress(_errors()) as listen:
        answer = api.delete_slice(args.actor, slice_.slice_id, listen)
    value_of(answer)
    screen.line("Slice deleted", GOOD)
    return DONE


def console(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Join this terminal with a VM's serial console; return the exit status."""
    vm = rights.find_vm(slice_of(api, args), args.vm)
    if not screen.terminal:
        raise Refused(NEEDS_TERMINAL)
    keyboard = _keyboard(screen)
    session = Session(api, screen, keyboard, Prompts(keyboard, screen), args.actor)
    return DONE if join_console(session, vm.vm_id) else REFUSED


def show_plan(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show what a deployment of a slice does; return the exit status."""
    return _show_change(api, args, screen, slice_of(api, args), plans.Depth(args.depth))


def validate(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Check a slice file; show what it makes, or all its faults on standard error. Return the exit status."""
    succeeded, value = api.read_design(args.actor, read_file(args.file))
    if isinstance(value, str) or not succeeded:
        return _show_faults(args.file, str(value))
    vms, links = counted(len(value.vms), "VM"), counted(len(value.links), "link")
    screen.line(f"{args.file}: slice {value.name}: {vms}, {links}")
    return DONE


def create(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Create a slice from a slice file or a template, or only check it; return the exit status."""
    from topology.faults import BadSliceFile  # noqa: PLC0415 - not needed for the menu's first prompt
    from topology.limits import left_out  # noqa: PLC0415 - as above

    if args.template and not args.name:
        say("Error: a template needs --name; cli.py create --help says more")
        return USAGE
    if args.file and (args.flavor or args.internet):
        say("Error: --flavor and --internet are for --template; a file says both for each VM")
        return USAGE
    try:
        design = _design_of(api, args)
    except BadSliceFile as faults:
        return _show_faults(args.file, str(faults))
    demand = value_of(api.demand_of_design(args.actor, design))
    say(demand_line(args.template or args.file, demand))
    notices = left_out(design)
    say(*(f"Warning: {notice}" for notice in notices))
    if args.dry_run:
        value_of(api.try_design(args.actor, design))
        say("Nothing was created: --dry-run")
    else:
        with Progress(_errors()) as listen:
            answer = api.create_from_design(args.actor, design, listen)
        slice_id = value_of(answer).slice_id
        if args.json:
            _show_json(screen, {"slice_id": slice_id})
        else:
            screen.line(f"Slice created! ID: {slice_id}", GOOD)
    return INCOMPLETE if notices else DONE


def _design_of(api: OrchestratorAPI, args: Namespace) -> Design:
    """Return the design of the slice file or the template that was named, with the name of `--name`."""
    if args.file:
        design = value_of(api.read_design(args.actor, read_file(args.file)))
        return replace(design, name=args.name or design.name)
    from topology.templates import make  # noqa: PLC0415 - as above

    flavor = args.flavor or next(iter(value_of(api.flavors(args.actor))))
    return make(args.template, args.name, flavor, args.internet or "none")


def _show_faults(file: str, faults: str) -> int:
    """Show all faults of a slice file on standard error; return the exit status."""
    say(*(f"Error: {file}, {fault}" for fault in faults.splitlines()))
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


def _show_change(
    api: OrchestratorAPI, args: Namespace, screen: Screen, slice_: Slice, depth: plans.Depth = plans.Depth.TITLES
) -> int:
    plan = value_of(api.plan_slice(args.actor, slice_.slice_id))
    plans.show(screen, plan, depth, slice_, args.actor, rights.way_to_run(slice_))
    return DONE


def _summary(slice_: Slice) -> dict[str, object]:
    counts = {"vms": len(slice_.vms), "links": len(slice_.links)}
    owner = {"slice_id": slice_.slice_id, "name": slice_.name, "owner": slice_.owner}
    return owner | {"status": slice_.status.value} | counts


def _show_json(screen: Screen, record: object) -> None:
    screen.line(json.dumps(record))


def _errors() -> Screen:
    """Return the screen of progress, questions and waits: standard error."""
    return Screen(sys.stderr, terminal=on_terminal(sys.stderr.fileno()))


def _agrees(slice_: Slice, viewer: str) -> bool:
    """Ask on the terminal whether to delete a slice; raise `Refused` where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(NEEDS_YES.format(slice_title(slice_)))
    screen = _errors()
    try:
        return Prompts(_keyboard(screen), screen).yes(deletion_question(slice_, viewer))
    except (Back, EOFError):
        return False


def _keyboard(screen: Screen) -> Keyboard:
    """Return a keyboard whose questions are on `screen`."""
    lines = Lines(sys.stdin.fileno())

    def typed(prompt: str) -> str:
        screen.prompt(prompt)
        return lines.line()

    return Keyboard(lines, screen, typed)


COMMANDS = {
    "list": list_slices,
    "show": show_slice,
    "quota": show_quota,
    "plan": show_plan,
    "deploy": deploy,
    "repair": repair,
    "delete": delete,
    "console": console,
    "validate": validate,
    "create": create,
    "export": export,
    "convert": convert,
    "graph": graph,
}
"""Commands about slices, by name."""

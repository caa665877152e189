"""Carry out the commands that change a design: `apply`, `add-vm`, `remove-vm`, `link` and `unlink`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from accounts import rights
from core.errors import Refused
from core.impairments import KINDS
from core.results import value_of
from core.status import SliceStatus, VMStatus
from menu import plans
from menu.command_parts import DONE, REFUSED, errors_screen, say, show_json, slice_of
from menu.file_commands import create_from, design_of_file
from menu.json_records import plan_record
from menu.progress import Progress
from menu.questions import agreed
from menu.screen import GOOD, Screen
from menu.texts import counted, slice_title
from models import Link, Slice

if TYPE_CHECKING:
    from lifecycle.edits import Edit
    from orchestrator import OrchestratorAPI
    from topology.design import Design, End

STAY_OFF = "VMs that powered themselves off stay off."
NEEDS_YES = "{} asks before it {}; without a terminal to ask on, it needs --yes"


def apply(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Bring the user's slice of a file's name to the file, or create it; return the exit status."""
    design = design_of_file(api, args)
    if design is None:
        return REFUSED
    slice_ = named_slice(api, args.actor, design.name)
    if slice_ is None:
        return create_from(api, args, screen, design, args.file)
    return _change(api, args, screen, slice_, design, from_file=True)


def show_plan(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show what `apply` of a file does; return the exit status."""
    from topology.compare import Difference, Effect  # noqa: PLC0415 - not needed for the menu's first prompt

    design = design_of_file(api, args)
    if design is None:
        return REFUSED
    slice_ = named_slice(api, args.actor, design.name)
    if slice_ is None:
        made, plan = value_of(api.designs.plan(args.actor, design))
        if args.json:
            show_json(screen, plan_record(plan, [Difference("slice", made.name, Effect.ADDED, {})]))
            return DONE
        screen.line(f"1 slice added, with {counted(len(made.vms), 'VM')} and {counted(len(made.links), 'link')}")
        plans.show(screen, plan, plans.Depth(args.depth), made, args.actor, "create")
        return DONE
    edit = value_of(api.edits.compare(args.actor, slice_.slice_id, design))
    if args.json:
        show_json(screen, plan_record(edit.plan, edit.found))
        return DONE
    _say_differences(screen, edit)
    if slice_.is_running and edit.is_on_hosts:
        screen.line(STAY_OFF)
    if edit.found:
        plans.show(screen, edit.plan, plans.Depth(args.depth), slice_, args.actor, "change")
    return DONE


def add_vm(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Add a VM to a slice; return the exit status."""
    from topology.design import DesignedVM  # noqa: PLC0415 - not needed for the menu's first prompt

    slice_ = slice_of(api, args)
    if args.dry_run:
        now = _design_of(slice_)
        wanted = replace(now, vms=(*now.vms, DesignedVM(args.name, args.flavor, args.nics, args.internet)))
        return _change(api, args, screen, slice_, wanted)
    with Progress(errors_screen()) as listen:
        answer = api.add_vm_to_slice(
            args.actor, slice_.slice_id, args.name, args.flavor, args.nics, args.internet, listen
        )
    vm = value_of(answer)
    screen.line(f"VM added! ID: {vm.vm_id}, VNC: {vm.vnc_port}, Flavor: {args.flavor}", GOOD)
    return DONE


def remove_vm(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Remove a VM of a slice after a question; return the exit status."""
    from topology.edits import without_vms  # noqa: PLC0415 - not needed for the menu's first prompt

    slice_ = slice_of(api, args)
    vm = rights.find_vm(slice_, args.vm)
    if vm.status == VMStatus.PENDING and slice_.status == SliceStatus.DESIGN:
        return _take_back(api, args, screen, slice_)
    return _change(api, args, screen, slice_, without_vms(_design_of(slice_), [vm.name]))


def _take_back(api: OrchestratorAPI, args: Namespace, screen: Screen, slice_: Slice) -> int:
    """Remove all VMs whose addition was not finished, after a question; return the exit status."""
    names = ", ".join(vm.name for vm in rights.pending(slice_))
    screen.line(f"the addition of {names} was not finished: removed")
    if args.dry_run:
        return DONE
    if not (
        args.yes or agreed(api, args, f"Change {slice_title(slice_)}? (y/n): ", NEEDS_YES.format(args.command, names))
    ):
        say("Nothing was changed")
        return REFUSED
    with Progress(errors_screen()) as listen:
        answer = api.take_back_slice(args.actor, slice_.slice_id, listen)
    value_of(answer)
    screen.line("Slice changed", GOOD)
    return DONE


def link(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Join VMs of a slice by a link; return the exit status."""
    from topology.design import DesignedLink  # noqa: PLC0415 - as above
    from topology.edits import with_link  # noqa: PLC0415 - as above

    slice_ = slice_of(api, args)
    wanted = DesignedLink(tuple(_end(slice_, word) for word in args.ends), args.name or "", args.services)
    return _change(api, args, screen, slice_, with_link(_design_of(slice_), wanted))


def unlink(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Remove a link of a slice; return the exit status."""
    from topology.edits import without_link  # noqa: PLC0415 - as above

    slice_ = slice_of(api, args)
    return _change(
        api, args, screen, slice_, without_link(_design_of(slice_), _link_name(slice_, args.link)), asks=False
    )


def set_link(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Change the state or the impairments of a link; return the exit status."""
    from topology.edits import with_wire  # noqa: PLC0415 - as above

    slice_ = slice_of(api, args)
    received = {kind: dict(values) for kind in KINDS if (values := getattr(args, kind))}
    if not (args.state or received):
        raise Refused(
            f"set-link changes nothing without an option: --state, {', '.join(f'--{kind}' for kind in KINDS)}"
        )
    by_name = {
        kind: {vm and rights.find_vm(slice_, vm).name: value for vm, value in values.items()}
        for kind, values in received.items()
    }
    wanted = with_wire(_design_of(slice_), _link_name(slice_, args.link), args.state, by_name)
    return _change(api, args, screen, slice_, wanted)


def named_slice(api: OrchestratorAPI, actor: str, name: str) -> Slice | None:
    """Return the user's own slice of exactly this name, or None."""
    slices = value_of(api.list_slices(actor))
    return next((slice_ for slice_ in slices if (slice_.owner, slice_.name) == (actor, name)), None)


def _change(
    api: OrchestratorAPI,
    args: Namespace,
    screen: Screen,
    slice_: Slice,
    wanted: Design,
    *,
    asks: bool = True,
    from_file: bool = False,
) -> int:
    """Say the differences, ask where something goes, and bring the slice to the design; return the exit status."""
    edit = value_of(api.edits.compare(args.actor, slice_.slice_id, wanted, from_file=from_file))
    _say_differences(screen, edit)
    if args.dry_run or not edit.found:
        return DONE
    title = slice_title(slice_)
    if (
        asks
        and (edit.removes or edit.restarts)
        and not (args.yes or agreed(api, args, f"Change {title}? (y/n): ", _needs_yes(args, edit)))
    ):
        say("Nothing was changed")
        return REFUSED
    with Progress(errors_screen()) as listen:
        answer = api.edits.apply(args.actor, slice_.slice_id, wanted, listen, from_file=from_file, agreed=edit.found)
    value_of(answer)
    screen.line("Slice changed", GOOD)
    return DONE


def _say_differences(screen: Screen, edit: Edit) -> None:
    from topology.compare import summary  # noqa: PLC0415 - as above

    screen.line(summary(edit.found))
    for each in edit.found:
        screen.line(f"  {each}")


def _needs_yes(args: Namespace, edit: Edit) -> str:
    acts = {"removes": edit.removes, "restarts": edit.restarts}
    return NEEDS_YES.format(
        args.command, " and ".join(f"{verb} {', '.join(parts)}" for verb, parts in acts.items() if parts)
    )


def _design_of(slice_: Slice) -> Design:
    from topology.of_slice import present_design  # noqa: PLC0415 - as above

    return present_design(slice_)


def _end(slice_: Slice, word: str) -> End:
    """Return the end that END means: VM, or VM:eth1."""
    from topology.design import End  # noqa: PLC0415 - as above

    vm, colon, nic = word.partition(":")
    number = nic.removeprefix("eth")
    if colon and not (nic.startswith("eth") and number.isdecimal() and number.isascii() and len(number) < 3):
        raise Refused(f"{word} is no end of a link; write VM or VM:eth1")
    if number and not int(number):
        raise Refused("eth0 is for the internet and takes no link; write VM:eth1 or a higher one")
    return End(rights.find_vm(slice_, vm).name, int(number or 0), named=bool(nic))


def _link_name(slice_: Slice, word: str) -> str:
    """Return the name of the link that LINK means: its number, its name, or one of its ends."""
    from topology.of_slice import link_names  # noqa: PLC0415 - as above

    named: dict[str, Link] = dict(zip(link_names(slice_), slice_.links, strict=True))
    names = {vm.vm_id: vm.name for vm in slice_.vms}
    for name, each in named.items():
        ends = {f"{names[vm_id]}:{interface}" for vm_id, interface in each.ends}
        if word in {str(each.link_id), name, *ends}:
            return name
    raise Refused(f"Slice {slice_.slice_id} has no link {word}; its links: {', '.join(named) or 'none yet'}")


COMMANDS = {
    "apply": apply,
    "add-vm": add_vm,
    "remove-vm": remove_vm,
    "link": link,
    "unlink": unlink,
    "set-link": set_link,
}
"""The commands that change a design, by name."""

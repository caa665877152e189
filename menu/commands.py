"""Carry out the commands about slices: the use-cases of the menu's entries.

An operator names the user by `--as`. In a restricted session it is the session's user.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from accounts import rights
from core.errors import Refused
from core.results import value_of
from menu import (
    captures,
    edit_commands,
    file_commands,
    image_commands,
    keys,
    plans,
    power_commands,
    reach_commands,
    snapshot_commands,
)
from menu.command_parts import DONE, INCOMPLETE, REFUSED, errors_screen, say, show_json, slice_of
from menu.entries import deletion_question, resources_of, show_repaired
from menu.json_records import plan_record
from menu.progress import Progress
from menu.prompts import Prompts
from menu.questions import agreed, keyboard_for
from menu.reach import join_console
from menu.readiness import await_boot
from menu.resume import resume
from menu.screen import GOOD, Screen
from menu.session import Session
from menu.texts import by_id, slice_title
from menu.views import SlicesView, SliceView
from menu.words import is_file
from models import Slice

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI

NEEDS_YES = "delete asks before it removes {}; without a terminal to ask on, it needs --yes"
NEEDS_TERMINAL = "console joins a terminal with the VM: call it without a pipe, and over ssh with -t"


def carry_out(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Carry out a command; return the exit status."""
    if not args.restricted_user:
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
        show_json(screen, {"slices": [_summary(slice_) for slice_ in slices]})
    elif slices:
        screen.show(SlicesView(slices, args.actor))
    else:
        say(f"{args.actor} has no slices yet")
    return DONE


def list_names(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """List the names of slices, or of the VMs of one; an id stands for a slice without a name."""
    if args.slice:
        names = [vm.name for vm in slice_of(api, args).vms]
    else:
        names = [slice_.name or str(slice_.slice_id) for slice_ in by_id(value_of(api.list_slices(args.actor)))]
    for name in dict.fromkeys(names):
        screen.line(name)
    return DONE


def show_slice(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show a slice with its problems, or its record; return the exit status."""
    slice_ = slice_of(api, args)
    if not args.secrets:
        slice_ = slice_.without_secrets()
    if args.json:
        show_json(screen, slice_.to_dict())
        return DONE
    with errors_screen().waiting("Looking at the hosts"):
        found = value_of(api.problems(args.actor, slice_.slice_id)).get(slice_.slice_id)
    screen.show(SliceView(slice_, args.actor, found.for_commands() if found else None))
    return DONE


def show_quota(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show a user's quota, the workers and the flavors; return the exit status."""
    view = resources_of(api, args.actor, errors_screen())
    if not args.json:
        screen.show(view)
        return DONE
    quota = {"used_vms": view.user.used_vms, "quota_vms": view.user.quota_vms}
    slices = {"used_slices": len(view.user.slices), "quota_slices": view.most_slices}
    workers = {address: asdict(worker) for address, worker in view.workers.items()}
    flavors = {name: flavor.to_dict() for name, flavor in view.flavors.items()}
    show_json(screen, quota | slices | {"workers": workers, "flavors": flavors})
    return DONE


def deploy(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Deploy a slice, with progress on standard error; return the exit status."""
    slice_ = slice_of(api, args)
    if args.dry_run:
        rights.require_deployable(slice_)
        return _show_change(api, args, screen, slice_)
    with Progress(errors_screen()) as listen:
        answer = api.deploy_slice(args.actor, slice_.slice_id, listen)
    value_of(answer)
    screen.line("Slice deployed successfully", GOOD)
    return DONE if args.wait is None else await_boot(api, args.actor, slice_.slice_id, args.wait, screen)


def repair(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Repair a slice, with progress on standard error, and show the parts brought back; return the exit status."""
    slice_ = slice_of(api, args)
    if args.dry_run:
        rights.require_running(slice_)
        return _show_change(api, args, screen, slice_)
    with Progress(errors_screen()) as listen:
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
    needs_yes = NEEDS_YES.format(slice_title(slice_))
    if not args.yes and not agreed(api, args, deletion_question(slice_, args.actor), needs_yes):
        say("Nothing was deleted")
        return REFUSED
    with Progress(errors_screen()) as listen:
        answer = api.delete_slice(args.actor, slice_.slice_id, listen)
    value_of(answer)
    screen.line("Slice deleted", GOOD)
    return DONE


def console(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Join this terminal with a VM's serial console, or read along there; return the exit status."""
    if args.watch:
        return reach_commands.watch(api, args, screen)
    vm = rights.find_vm(slice_of(api, args), args.vm)
    if not screen.terminal:
        raise Refused(NEEDS_TERMINAL)
    keyboard = keyboard_for(api, args, screen)
    session = Session(api, screen, keyboard, Prompts(keyboard, screen, way_back=""), args.actor)
    return DONE if join_console(session, vm.vm_id) else REFUSED


def show_plan(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show what a deployment of a slice does, or what `apply` of a file does; return the exit status."""
    if is_file(args.slice):
        args.file = args.slice
        return edit_commands.show_plan(api, args, screen)
    return _show_change(api, args, screen, slice_of(api, args), plans.Depth(args.depth))


def _show_change(
    api: OrchestratorAPI, args: Namespace, screen: Screen, slice_: Slice, depth: plans.Depth = plans.Depth.TITLES
) -> int:
    plan = value_of(api.plan_slice(args.actor, slice_.slice_id))
    if args.command == "plan" and args.json:
        show_json(screen, plan_record(plan))
    else:
        plans.show(screen, plan, depth, slice_, args.actor, rights.way_to_run(slice_))
    return DONE


def _summary(slice_: Slice) -> dict[str, object]:
    counts = {"vms": len(slice_.vms), "links": len(slice_.links)}
    owner = {"slice_id": slice_.slice_id, "name": slice_.name, "owner": slice_.owner}
    return owner | {"status": slice_.status.value} | counts


COMMANDS = {
    "list": list_slices,
    "names": list_names,
    "show": show_slice,
    "quota": show_quota,
    "plan": show_plan,
    "deploy": deploy,
    "repair": repair,
    "delete": delete,
    **dict.fromkeys(("start", "stop", "restart", "reset"), power_commands.change_power),
    **dict.fromkeys(("snapshot", "restore"), snapshot_commands.change_snapshots),
    "snapshots": snapshot_commands.list_snapshots,
    "console": console,
    "connect": reach_commands.connect,
    "capture": captures.capture,
    "ssh-config": reach_commands.ssh_config,
    "validate": file_commands.validate,
    "create": file_commands.create,
    "export": file_commands.export,
    "convert": file_commands.convert,
    "graph": file_commands.graph,
    "image": image_commands.manage,
    "keys": keys.manage,
    "resume": resume,
    **edit_commands.COMMANDS,
}
"""The commands that work for a user, by name."""

"""Carry out the commands of snapshots: `snapshot`, `restore` and `snapshots`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from accounts import rights
from core.results import value_of
from menu import plans
from menu.command_parts import DONE, REFUSED, errors_screen, say, show_json, slice_of
from menu.progress import Progress
from menu.questions import agreed
from menu.screen import Screen
from menu.snapshots import restore_question, snapshot_lines
from menu.told import show_told

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI

NEEDS_YES = "restore asks before it does that; without a terminal to ask on, it needs --yes"


def list_snapshots(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """List the snapshots of a slice; return the exit status."""
    slice_ = slice_of(api, args)
    listed = value_of(api.snapshots.list(args.actor, slice_.slice_id))
    if args.json:
        show_json(screen, {"snapshots": [asdict(each) for each in listed]})
        return DONE
    for line in snapshot_lines(listed):
        screen.line(line)
    if not listed:
        say(f"Slice {slice_.slice_id} has no snapshots yet")
    return DONE


def change_snapshots(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Take, delete or restore a snapshot of VMs of a slice; return the exit status."""
    slice_ = slice_of(api, args)
    vm_ids = [rights.find_vm(slice_, word).vm_id for word in args.vms]
    verb = "delete" if args.command == "snapshot" and args.delete else args.command
    plan = value_of(api.snapshots.plan(args.actor, slice_.slice_id, verb, args.name, vm_ids))
    if args.dry_run:
        plans.show(screen, plan, plans.Depth.TITLES, slice_, args.actor, f"{verb} VMs of")
        return DONE
    if verb == "restore" and not args.yes and not agreed(api, args, restore_question(slice_, args.name), NEEDS_YES):
        say("Nothing was changed")
        return REFUSED
    acts = {"snapshot": api.snapshots.take, "delete": api.snapshots.delete, "restore": api.snapshots.restore}
    with Progress(errors_screen()) as listen:
        answer = acts[verb](args.actor, slice_.slice_id, args.name, vm_ids, listen)
    show_told(value_of(answer), screen)
    return DONE

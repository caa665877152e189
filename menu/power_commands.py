"""Carry out the commands that switch VMs: `start`, `stop`, `restart` and `reset`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from accounts import rights
from core.results import value_of
from machines.power import DISOBEYED
from menu import plans
from menu.command_parts import DONE, INCOMPLETE, REFUSED, errors_screen, say, slice_of
from menu.power import question, switch
from menu.progress import Progress
from menu.questions import agreed
from menu.screen import Screen
from menu.told import show_told

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI

NEEDS_YES = "{} asks before it does that; without a terminal to ask on, it needs --yes"


def change_power(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Switch VMs of a slice, after a question where something is lost; return the exit status."""
    slice_ = slice_of(api, args)
    vm_ids = [rights.find_vm(slice_, word).vm_id for word in args.vms]
    verb = "stop --now" if args.command == "stop" and args.now else args.command
    plan = value_of(api.power.plan(args.actor, slice_.slice_id, verb, vm_ids))
    if args.dry_run:
        plans.show(screen, plan, plans.Depth.TITLES, slice_, args.actor, f"{args.command} VMs of")
        return DONE
    asked = question(slice_, verb, vm_ids)
    if asked and not args.yes and not agreed(api, args, asked, NEEDS_YES.format(verb)):
        say("Nothing was changed")
        return REFUSED
    with Progress(errors_screen()) as listen:
        answer = switch(api, args.actor, slice_, verb, vm_ids, listen)
    told = value_of(answer)
    show_told(told, screen)
    return INCOMPLETE if any(sentence.startswith(DISOBEYED) for sentence in told) else DONE

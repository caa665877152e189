"""Carry out `python3 cli.py resume`, which ends what managers left when they died; made for a timer."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from accounts import rights
from core.errors import CloudError, Refused
from core.results import Result, value_of
from menu.command_parts import DONE, INCOMPLETE, errors_screen, say
from menu.progress import Progress
from menu.screen import GOOD, WARNING, Screen
from menu.texts import by_id
from models import ADMIN, Slice

if TYPE_CHECKING:
    from lifecycle.snapshots import Unfinished
    from orchestrator import OrchestratorAPI


def resume(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Finish changes that no session works on, or take them back; return the exit status."""
    if args.raise_fences:
        return _raise_fences(api, screen)
    if value_of(api.get_user(args.actor)).role != ADMIN:
        raise Refused(f"resume works on the slices of all users, and {args.actor} is no admin: name one with --as")
    slices = by_id(value_of(api.unfinished(args.actor)))
    done = [_end(api, args, slice_, screen) for slice_ in slices]
    done += [_end_snapshot(api, args, each, screen) for each in value_of(api.snapshots.unfinished(args.actor))]
    if not done:
        say("Nothing was left unfinished")
    return DONE if all(done) else INCOMPLETE


def _end(api: OrchestratorAPI, args: Namespace, slice_: Slice, screen: Screen) -> bool:
    """End the change of one slice; return whether it is done, by this session or by another one."""
    back = args.take_back and not rights.goes_only_forward(slice_)
    with Progress(errors_screen()) as listen:
        answer = (api.take_back_slice if back else api.finish_slice)(args.actor, slice_.slice_id, listen)
    left = {each.slice_id for each in value_of(api.unfinished(args.actor))}
    return _show(answer, screen, is_left=slice_.slice_id in left)


def _end_snapshot(api: OrchestratorAPI, args: Namespace, found: Unfinished, screen: Screen) -> bool:
    act = api.snapshots.delete if args.take_back else api.snapshots.take
    with Progress(errors_screen()) as listen:
        answer = act(args.actor, found.slice_.slice_id, found.name, [vm.vm_id for vm in found.vms], listen=listen)
    left = {(each.slice_.slice_id, each.name) for each in value_of(api.snapshots.unfinished(args.actor))}
    return _show(answer, screen, is_left=(found.slice_.slice_id, found.name) in left)


def _show(answer: Result[Any], screen: Screen, *, is_left: bool) -> bool:
    try:
        told = value_of(answer)
    except Refused as refusal:
        if is_left:
            say(f"Error: {refusal}")
        return not is_left  # else another session has ended it meanwhile
    except CloudError as failure:
        say(f"Error: {failure}")
        return False
    for line in [told] if isinstance(told, str) else told:
        screen.line(line, GOOD)
    return True


def _raise_fences(api: OrchestratorAPI, screen: Screen) -> int:
    raised = api.fences.above_all_hosts()
    for host, why in raised.unseen.items():
        screen.line(f"not asked: {host}: {why}", WARNING)
    screen.line(f"The next claims are above {len(raised.seen)} fences that hosts have seen", GOOD)
    return INCOMPLETE if raised.unseen else DONE

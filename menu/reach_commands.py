"""Carry out the commands that reach a VM from outside."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from accounts import rights
from core.errors import CloudError, Refused
from core.results import value_of
from menu import ssh_config as ssh_texts
from menu.command_parts import DONE, INCOMPLETE, say, slice_of
from menu.screen import Screen
from menu.terminal import reset
from storage.location import absolute

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI


def connect(api: OrchestratorAPI, args: Namespace, _screen: Screen) -> int:
    """Join standard input and output with a TCP port of a VM; return the exit status."""
    from menu.pipe import Pipe, PipeEnd  # noqa: PLC0415 - not needed for the menu's first prompt
    from remote.port import IDLE_SECONDS  # noqa: PLC0415 - as above

    slice_ = slice_of(api, args)
    vm = rights.find_vm(slice_, args.vm)
    with closing(value_of(api.reach.connect(args.actor, slice_.slice_id, vm.vm_id, args.port))) as stream:
        end = Pipe(stream, sys.stdin.fileno(), sys.stdout.fileno(), IDLE_SECONDS).run()
    if end is PipeEnd.LOST:
        raise CloudError("The connection was lost on its way to the VM; connect again")
    if end is PipeEnd.IDLE:
        say(f"Warning: the connection ends: {end.value} for {IDLE_SECONDS // 60} min")
    return DONE


def watch(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Show what a VM writes to its serial console until Ctrl-C, or until the VM is off; return the exit status."""
    from menu.pipe import Pipe  # noqa: PLC0415 - as above
    from remote.port import IDLE_SECONDS  # noqa: PLC0415 - as above

    slice_ = slice_of(api, args)
    vm = rights.find_vm(slice_, args.vm)
    with (
        closing(value_of(api.reach.watch(args.actor, slice_.slice_id, vm.vm_id))) as stream,
        suppress(KeyboardInterrupt),
    ):
        Pipe(stream, None, sys.stdout.fileno(), IDLE_SECONDS).run()
    if screen.draws:
        reset(screen.raw, utf8=screen.is_utf8)  # the guest may have set colours or another character set
    return DONE


def ssh_config(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Write blocks for ~/.ssh/config, or lines of known hosts; return the exit status."""
    slice_id = slice_of(api, args).slice_id if args.slice else None
    found = value_of(api.reach.ways(args.actor, slice_id))
    if args.known_hosts:
        screen.data(ssh_texts.known_hosts(found.ways))
        left_out = [f"{way.host} has no host key of ours: ssh asks for it" for way in found.ways if not way.host_key]
    else:
        screen.data(ssh_texts.blocks(found.ways, way_to_manager(args, found.manager)))
        left_out = [f"{name} has no address that leads outside" for name in found.without]
    say(*(f"Warning: {notice}" for notice in left_out))
    return INCOMPLETE if left_out else DONE


def way_to_manager(args: Namespace, address: str) -> tuple[str, ...]:
    """Return the command on the user's machine that carries out commands here: ssh, or on the manager the program."""
    if args.via or (args.restricted_user and address):
        return ("ssh", args.via or address)
    if args.restricted_user:
        raise Refused("Name the manager as you write it after ssh, such as --via cloud@manager")
    program = (sys.executable, str(Path(__file__).parents[1] / "cli.py"))
    return (*program, "--database", absolute(args.database), "--as", args.actor)

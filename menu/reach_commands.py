"""Carry out the commands that reach a VM from outside."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import closing
from typing import TYPE_CHECKING

from accounts import rights
from core.errors import CloudError
from core.results import value_of
from menu.command_parts import DONE, say, slice_of
from menu.screen import Screen

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

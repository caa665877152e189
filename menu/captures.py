"""Carry out `capture`, and the part of entry 18 that shows packets as text."""

from __future__ import annotations

import os
import select
import sys
import time
from argparse import Namespace
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from accounts import rights
from core.captures import FILTER_RULE, MOST_BYTES, MOST_PACKETS, MOST_SECONDS, CaptureRequest, is_filter
from core.errors import CloudError, Refused
from core.results import value_of
from menu.command_parts import DONE, INCOMPLETE, say, slice_of
from menu.picking import ask_for_vm
from menu.screen import Screen

if TYPE_CHECKING:
    from menu.session import Session
    from models import VM, Slice
    from orchestrator import OrchestratorAPI
    from remote.capture import CaptureStream

SHOWN_PACKETS = 50
SHOWN_SECONDS = 60
"""The bounds of a capture whose packets the menu shows."""

_LATE_SECONDS = 15.0
"""Seconds after which a worker that does not end a capture in time is left."""

_CHUNK = 65_536


def capture(api: OrchestratorAPI, args: Namespace, _screen: Screen) -> int:
    """Write packets of an interface to standard output until one side ends; return the exit status."""
    from menu.pipe import Pipe, PipeEnd  # noqa: PLC0415 - not needed for the menu's first prompt

    target = sys.stdout.fileno()
    if os.isatty(target):
        raise Refused(_needs_pipe(args))
    slice_ = slice_of(api, args)
    vm = rights.find_vm(slice_, args.vm)
    request = CaptureRequest(args.nic, " ".join(args.filter), args.count or MOST_PACKETS)
    with closing(value_of(api.reach.capture(args.actor, slice_.slice_id, vm.vm_id, request))) as stream:
        say(f"Capturing packets of {args.nic} of {vm.name}; Ctrl-C ends it")
        try:
            end = Pipe(stream, None, target, MOST_SECONDS + _LATE_SECONDS).run()
        except KeyboardInterrupt:
            return DONE
        if end is PipeEnd.USER:
            return DONE
        warnings = _warnings(stream, args)
    say(*(f"Warning: {warning}" for warning in warnings))
    return INCOMPLETE if warnings else DONE


def _needs_pipe(args: Namespace) -> str:
    """Return the sentence for a terminal, with the command that needs none."""
    program = "ssh cloud@manager" if args.restricted_user else "python3 cli.py"
    without = ", and call ssh without -t" if args.restricted_user else ""
    return (
        "capture writes packets as a pcap file, which a terminal cannot show: send it to a program, such as "
        f"{program} capture {args.slice} {args.vm} {args.nic} | wireshark -k -i -{without}"
    )


def _warnings(stream: CaptureStream, args: Namespace) -> list[str]:
    """Return what a user should know of the end of a capture; raise `CloudError` where it failed."""
    from remote.capture import CaptureEnd  # noqa: PLC0415 - as above

    bounds = {
        CaptureEnd.COUNT: "" if args.count else f"{MOST_PACKETS} packets",
        CaptureEnd.TIME: f"{MOST_SECONDS // 60} min",
        CaptureEnd.FULL: f"{MOST_BYTES >> 20} MiB",
    }
    end, words = stream.end()
    if end not in bounds:
        raise CloudError(_broken_off(words))
    warnings = [f"the capture ends after {bounds[end]}"] if bounds[end] else []
    if stream.dropped:
        warnings.append(f"{stream.dropped} packets are missing: they came faster than they were read")
    return warnings


def _broken_off(words: str) -> str:
    """Return the sentence about a capture that failed; without words of tcpdump its worker was lost."""
    return f"The capture was broken off: {words or 'the connection to the worker was lost'}"


def show_packets(session: Session) -> None:
    """Ask for an interface of a VM, and show its next packets until Enter, or until enough came."""
    slice_, vm = _ask_for_vm(session)
    linked = [interface.name for interface in vm.interfaces if interface.vlan_id is not None]
    nic = session.ask.interface(f"Interface ({', '.join(linked) or 'none has a link'}): ", linked)
    words = session.ask.optional("Filter, such as icmp (Enter for all packets): ", is_filter, FILTER_RULE)
    request = CaptureRequest(nic, words, SHOWN_PACKETS, SHOWN_SECONDS, as_text=True)
    with closing(value_of(session.api.reach.capture(session.actor, slice_.slice_id, vm.vm_id, request))) as stream:
        session.say(f"The next {SHOWN_PACKETS} packets of {nic} of {vm.name}, at most {SHOWN_SECONDS} s; Enter ends it")
        with suppress(KeyboardInterrupt):
            if _show_until_enter(session, stream):
                session.screen.line(_ending(stream))
                return
    session.screen.line("The capture has ended")


def _ask_for_vm(session: Session) -> tuple[Slice, VM]:
    vm_id = ask_for_vm(session, "VM ID: ")
    for slice_ in value_of(session.api.list_slices(session.actor)):
        if vm := slice_.vm(vm_id):
            return slice_, vm
    raise Refused(f"You have no VM {vm_id}; View my Slices shows the ids")


def _show_until_enter(session: Session, stream: CaptureStream) -> bool:
    """Show lines as they come; return True at the end of the packets, False for Enter.

    Piped input stays for the questions that follow: a script cannot know when to send Enter.
    """
    keys = session.keyboard.lines
    sources = [stream.fileno(), *([keys.descriptor] if session.screen.terminal else [])]
    deadline, rest = time.monotonic() + SHOWN_SECONDS + _LATE_SECONDS, b""
    while (left := deadline - time.monotonic()) > 0:
        ready = select.select(sources, [], [], 0 if stream.has_output else left)[0]
        if keys.descriptor in ready:
            keys.take()
            return False
        try:
            piece = stream.recv(_CHUNK)
        except BlockingIOError:  # a message of tcpdump
            continue
        except (OSError, EOFError, CloudError):
            return True
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            session.screen.line(line.decode("utf-8", "replace"))
        if not piece:
            return True
    return True


def _ending(stream: CaptureStream) -> str:
    """Return the sentence about a capture that has ended by itself; raise `CloudError` where it failed."""
    from remote.capture import CaptureEnd  # noqa: PLC0415 - as above

    end, words = stream.end()
    match end:
        case CaptureEnd.COUNT:
            return f"The capture has ended after {SHOWN_PACKETS} packets"
        case CaptureEnd.TIME:
            return f"The capture has ended after {SHOWN_SECONDS} s"
    raise CloudError(_broken_off(words))

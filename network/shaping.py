"""Impairments of links: what a guest receives is delayed, slowed or lost on its TAP (tc(8)). Returns commands.

Open vSwitch leaves the queue of a port alone whose QoS is `linux-noop` (ovs-vswitchd.conf.db(5)); without it a restart
of ovs-vswitchd would remove the queue. The row of the QoS names its TAP and the words of its queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core.impairments import Profile, Quality, quality_of
from core.names import tap_name
from models import Slice
from network.ovs import OWNER
from remote.plan import Command, Part, about
from shell.scripts import load

_ARE_SHAPED = load("taps/are-shaped")
_CHECK_SHAPES = load("taps/check-shapes")
_SHAPE_TAPS = load("taps/shape-taps")
_UNSHAPE_TAPS = load("taps/unshape-taps")
_CHECK_NETEM = load("taps/check-netem")

Queues = Mapping[str, str]
"""The words of tc(8) for the queue of each TAP whose link has impairments; none where these come to nothing."""

_LONGEST_WAIT_MS = 50
_FRAMES_AT_ONCE = 2
_FEWEST_FRAMES, _MOST_FRAMES = 20, 100_000
_LONGEST_FRAME_BITS = 1600 * 8
_TICKS_PER_SECOND = 100
"""A bucket holds what its rate gives within a tick of the slowest kernel, and two frames at least."""


def queues(slice_: Slice, worker: str, profiles: Mapping[str, Profile]) -> dict[str, str]:
    """Return the queues of the slice's TAPs on `worker`."""
    found = {}
    for link in slice_.links:
        nics = dict(link.ends)
        for impairment in link.impairments:
            vm, shape = slice_.vm(impairment.vm_id), quality_of(impairment, profiles)
            if vm and vm.worker_ip == worker:
                found[tap_name(vm.vm_id, nics[vm.vm_id])] = _queue(shape)
    return found


def needs_netem(queues_: Queues) -> bool:
    """Return whether a queue is one of netem, which not every kernel has."""
    return any(words.startswith("netem") for words in queues_.values())


def check_netem() -> Command:
    """Check, read-only, that the kernel can delay and lose frames."""
    return Command(_CHECK_NETEM.argv())


def shape(queues_: Queues) -> Command:
    """Give TAPs, which are ports of br-int, their queues, and print those that had others."""
    words = _words(queues_)
    return Command(_SHAPE_TAPS.argv(OWNER, *words), unless=_ARE_SHAPED.argv(OWNER, *words))


def check(queues_: Queues) -> Command:
    """Check, read-only, that TAPs have their queues."""
    return Command(_CHECK_SHAPES.argv(OWNER, *_words(queues_)))


def unshape(taps: Iterable[str]) -> Command:
    """Remove the queues of TAPs."""
    return about(Command(_UNSHAPE_TAPS.argv(OWNER)), (Part(f"queue of {tap}", (tap,)) for tap in taps))


def _queue(shape_: Quality) -> str:
    """Return the words of tc(8): tc-tbf(8) where there is a rate alone, else tc-netem(8)."""
    if not any(shape_):
        return ""
    rate = f"rate {shape_.rate:.0f}kbit" if shape_.rate else ""
    if not (shape_.delay or shape_.jitter or shape_.loss):
        least = _FRAMES_AT_ONCE * _LONGEST_FRAME_BITS
        bucket = max(least, shape_.rate * 1000 / _TICKS_PER_SECOND) / 8
        return f"tbf {rate} burst {bucket:.0f} latency {_LONGEST_WAIT_MS}ms"
    delay = f"delay {shape_.delay * 1000:.0f}us {shape_.jitter * 1000:.0f}us" if shape_.delay or shape_.jitter else ""
    loss = f"loss {shape_.loss:.6g}%" if shape_.loss else ""
    return " ".join(filter(None, ("netem", f"limit {_limit(shape_)}", delay, loss, rate)))


def _limit(shape_: Quality) -> int:
    """Return the number of frames that may wait: those of the delay, and of 50 ms before them where there is a rate."""
    if not shape_.rate:
        return _MOST_FRAMES
    waiting = shape_.rate * (shape_.delay + shape_.jitter + _LONGEST_WAIT_MS)  # bits: kbit/s times ms
    return min(_MOST_FRAMES, max(_FEWEST_FRAMES, round(waiting / _LONGEST_FRAME_BITS)))


def _words(queues_: Queues) -> tuple[str, ...]:
    return tuple(word for pair in queues_.items() for word in pair)

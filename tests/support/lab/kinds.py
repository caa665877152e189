"""The 17 kinds of frames that a wire passes, sent from a switch as if by a guest, and ears that hear them at ports."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from lab import Lab
from tests.support.lab import frames as f

LLC, SNAP = b"\x42\x42\x03", b"\xaa\xaa\x03\x00\x00\x0c"
BPDU = bytes(32)


def _llc(target: str, payload: bytes) -> tuple[str, int, bytes]:
    """Return a frame of IEEE 802.3, which has its length in place of a type."""
    return target, len(payload) + 8, payload


KINDS: Mapping[str, tuple[str, int, bytes]] = {
    "STP": _llc("01:80:c2:00:00:00", LLC + b"\0\0\0\0" + BPDU),
    "RSTP": _llc("01:80:c2:00:00:00", LLC + b"\0\0\2\2" + BPDU),
    "PVST": _llc("01:00:0c:cc:cc:cd", SNAP + b"\x01\x0b" + BPDU),
    "CDP": _llc("01:00:0c:cc:cc:cc", SNAP + b"\x20\x00" + BPDU),
    "IS-IS": _llc("01:80:c2:00:00:14", b"\xfe\xfe\x03\x83" + BPDU),
    "LLDP": ("01:80:c2:00:00:0e", 0x88CC, bytes(32)),
    "LACP": ("01:80:c2:00:00:02", 0x8809, b"\x01\x01" + bytes(32)),
    "PAUSE": ("01:80:c2:00:00:01", 0x8808, b"\x00\x01" + bytes(32)),
    "802.1X": ("01:80:c2:00:00:03", 0x888E, b"\x02\x01\0\0"),
    "MVRP": ("01:80:c2:00:00:21", 0x88F5, bytes(32)),
    "MPLS": (f.BROADCAST, 0x8847, b"\x00\x01\x01\x40"),
    "ARP": (f.BROADCAST, 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + bytes(20)),
    "OSPF": ("01:00:5e:00:00:05", 0x0800, f.ipv4("10.9.9.1", "224.0.0.5", 89, bytes(24))),
    "IPv6": (f.ALL_NODES, 0x86DD, struct.pack("!IHBB", 6 << 28, 40, 59, 1) + bytes(72)),
    "802.1Q": (f.BROADCAST, 0x8100, struct.pack("!HH", 55, 0x88B5)),
    "802.1ad": (f.BROADCAST, 0x88A8, struct.pack("!HH", 55, 0x88B5)),
    "Q-in-Q": (f.BROADCAST, 0x8100, struct.pack("!HHHH", 55, 0x8100, 66, 0x88B5)),
}
"""Kinds of frames that a wire passes: target, type or length, and payload."""

TAGGED = {"802.1Q", "802.1ad", "Q-in-Q"}
"""Kinds that have VLAN tags of their own, which only a transparent link passes."""

RESERVED = {"STP", "RSTP", "PVST", "CDP", "LLDP", "LACP", "PAUSE", "802.1X"}
"""Kinds that Open vSwitch passes only with `forward-bpdu` (ovs-vswitchd.conf.db(5)), as the tunnel sets it."""


def frame(source: str, kind: tuple[str, int, bytes], mark: bytes) -> bytes:
    """Return a frame that carries a mark of four bytes."""
    target, ethertype, payload = kind
    return f.ethernet(source, target, ethertype, payload + b"MARK" + mark)


def send(lab: Lab, host: str, bridge: str, port: str, frames: Iterable[bytes]) -> None:
    """Let the switch take frames as if they had arrived at the port."""
    lines = "".join(f"packet-out in_port={port} packet={frame.hex()} actions=TABLE\n" for frame in frames)
    lab.exec(host, ["ovs-ofctl", "bundle", bridge, "-"], input=lines)


# tcpdump ends when this process closes its end of the shell's input, or ends.
_LISTEN = """tcpdump -i "$1" -U -s 0 -Q "$2" -w - &
read -r _
kill $!
wait"""


class Ear:
    """A listener at a port, which hears the marks of frames: those for a guest, or those of both directions."""

    def __init__(self, lab: Lab, host: str, port: str, *, namespace: str = "", direction: str = "out") -> None:
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        argv = [*inside, "sh", "-c", _LISTEN, "listen", port, direction]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self._process = lab.popen_in(host, argv, **pipes)
        self._heard = b""
        assert self._process.stderr
        assert self._process.stdout
        assert b"listening" in self._process.stderr.readline()
        self._stream: Any = self._process.stdout
        os.set_blocking(self._stream.fileno(), False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def hears(self, count: int, seconds: float = 10) -> list[bytes]:
        """Return the marks that arrive until there are `count`; with 0, those that arrive in a moment."""
        self.listen(lambda: len(self.marks) >= (count or 1 << 30), seconds if count else 1)
        return self.marks

    def listen(self, enough: Callable[[], bool], seconds: float = 10) -> None:
        """Listen until the marks are enough, or the time is over."""
        deadline = time.monotonic() + seconds
        while not enough() and time.monotonic() < deadline:
            self._heard += self._stream.read() or b""
            time.sleep(0.05)

    @property
    def marks(self) -> list[bytes]:
        return re.findall(rb"MARK(....)", self._heard)

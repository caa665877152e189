"""A reader of pcap files (pcap-savefile(5)), for tests."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC, ETHERNET = 0xA1B2C3D4, 1


@dataclass(frozen=True)
class Packet:
    """A packet: its beginning, and the length that it had on the wire."""

    data: bytes
    length: int

    @property
    def icmp_type(self) -> int:
        """Return the type of ICMP in IPv4 without options."""
        assert self.data[12:15] == b"\x08\x00\x45"
        assert self.data[23] == 1
        return self.data[34]


def packets_of(file: bytes) -> list[Packet]:
    """Return the packets of a whole file of Ethernet; fail for another one."""
    magic, major, minor, _, _, kept, link = struct.unpack("<IHHiIII", file[:24])
    assert (magic, major, minor, link) == (MAGIC, 2, 4, ETHERNET)
    found, at = [], 24
    while at < len(file):
        _, _, captured, length = struct.unpack("<IIII", file[at : at + 16])
        data = file[at + 16 : at + 16 + captured]
        assert len(data) == captured <= kept
        found.append(Packet(data, length))
        at += 16 + captured
    return found

"""The bounds of a capture of packets, and the request for one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import Refused

MOST_PACKETS = 10_000
MOST_SECONDS = 600
MOST_BYTES = 16 << 20

KEPT_BYTES = 256
"""Bytes that are kept of each packet: its headers."""

LONGEST_FILTER = 256

FILTER_RULE = f"A filter has at most {LONGEST_FILTER} printable characters, and none of its words begins with -"


@dataclass(frozen=True)
class CaptureRequest:
    """A request for the next `count` packets of an interface, within `seconds`.

    `filter` is in the language of pcap-filter(7); an empty one takes all packets. `as_text`: a line for each packet,
    instead of a file of pcap.
    """

    nic: str
    filter: str = ""
    count: int = MOST_PACKETS
    seconds: int = MOST_SECONDS
    as_text: bool = False

    def check(self) -> None:
        """Raise `Refused` where the request is beyond a bound."""
        if not is_filter(self.filter):
            raise Refused(FILTER_RULE)
        if not (1 <= self.count <= MOST_PACKETS and 1 <= self.seconds <= MOST_SECONDS):
            raise Refused(f"A capture has 1 to {MOST_PACKETS} packets, and ends within {MOST_SECONDS // 60} min")


def is_filter(text: str) -> bool:
    """Return whether the text may be a filter. A word that begins with - could be an option of the program."""
    words = text.split()
    return len(text) <= LONGEST_FILTER and text.isprintable() and not any(word.startswith("-") for word in words)

"""Barriers between guests' frames and a host's own IP stack. Returns commands.

Where br-int is in user space, ovs-vswitchd reads a TAP by a packet socket, and the host's IP stack gets each frame too,
before all flows. Three barriers prevent that. None of them disturbs Open vSwitch: its kernel module takes a frame
before the barriers, and its packet socket gets its copy before them.

- an nftables table per slice drops IPv4 and IPv6 of its TAPs before connection tracking and routing (nft(8));
- a TAP has no ARP, no IPv6 and strict reverse path filtering (`silence`; ip-link(8), ip-sysctl in the kernel's manual);
- gateway and DHCP ports have no IPv6: it is off in our namespaces, and per device in the root namespace.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.names import slice_of_part, slice_part
from remote.plan import Command
from shell.scripts import load

_TABLES = "cloud-repositorio-"
"""The prefix of our tables' names; the rest is the `slice_part`."""

_CHAIN = "type filter hook prerouting priority -500; policy accept;"
"""The chain's priority is before the reassembly of fragments (-400), which would use the host's memory."""


_TAPS_ARE_DROPPED = load("taps/taps-are-dropped")
_CHECK_TAPS_DROPPED = load("taps/check-taps-dropped")
_HAS_NO_NFT = load("taps/has-no-nft")
_LIST_DROPPED_TAPS = load("taps/list-dropped-taps")

DROP = "drop"
"""The name of the answer about the slice's table before a change."""


def table_of(slice_id: int) -> str:
    """Return the name of a slice's table in the family `inet`."""
    return f"{_TABLES}{slice_part(slice_id)}"


def slice_of_table(table: str) -> int | None:
    """Return the slice of a table, or None where the table is not ours."""
    return slice_of_part(table.removeprefix(_TABLES)) if table.startswith(_TABLES) else None


def drop_taps(slice_id: int, taps: Sequence[str]) -> Command:
    """Drop frames of these TAPs before the host's IP stack; the slice's table is replaced in one transaction."""
    table = table_of(slice_id)
    text = "\n".join((f"add table inet {table}", f"delete table inet {table}", *_lines(table, taps), ""))
    check = _TAPS_ARE_DROPPED.argv(table, listing(slice_id, taps), *taps)
    return Command(("nft", "-f", "-"), text, unless=check)


def check_dropped(slice_id: int, taps: Sequence[str]) -> Command:
    """Check, read-only, that the slice's table equals that of `drop_taps`."""
    return Command(_CHECK_TAPS_DROPPED.argv(table_of(slice_id), listing(slice_id, taps)))


def undo_drop(slice_id: int) -> Command:
    """Remove the slice's table, or put back the one that was replaced.

    Slices of older versions have none, and their hosts may lack nft(8).
    """
    table = table_of(slice_id)
    text = f"add table inet {table}\ndelete table inet {table}\n"
    return Command(("nft", "-f", "-"), text, unless=_HAS_NO_NFT.argv(), before=DROP)


def list_drop(slice_id: int) -> Command:
    """List, read-only, the slice's table as nft(8) reads it; nothing where there is none."""
    return Command(_LIST_DROPPED_TAPS.argv(table_of(slice_id)), name=DROP)


def listing(slice_id: int, taps: Sequence[str]) -> str:
    """Return nft's listing of the slice's table, with single spaces."""
    return " ".join(" ".join(_lines(table_of(slice_id), taps)).split())


def _lines(table: str, taps: Sequence[str]) -> list[str]:
    drops = [f'    iifname "{tap}" drop' for tap in taps]
    return [f"table inet {table} {{", "  chain taps {", f"    {_CHAIN}", *drops, "  }", "}"]

"""From measurements to the lines that are shown, and to the verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import hosts
from bench.contenders import Facts
from bench.driver import PHASES
from bench.rounds import Measured

MAX_RATIO = 0.1
BOUND_PHASES = ("deploy", "delete")
TITLES = {"ours": "ours", "ssh": "one ssh per command"}

_LEGEND = """\
design: a slice, its VMs with their overlays, its links (ours, with discovery and connecting); the overlays alone (ssh).
deploy: until every VM's VNC port is open and every dnsmasq runs; overlays and base image are there (ours looks again,
        checks memory, disk and names before, reads everything back after, and makes a router namespace for the slice).
delete: until nothing is left, overlays included. ssh: OpenSSH's client, default settings, one command after the other.
Guests have 64 MB and an empty disk, so that the machine does not spend its time booting them."""


@dataclass(frozen=True)
class Spread:
    """Several durations of the same thing, in seconds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one in the middle."""
        return median(self.values)

    def __str__(self) -> str:
        return f"{self.median:.2f} s ({min(self.values):.2f} to {max(self.values):.2f})"


def spread(results: Sequence[Measured], contender: str, phase: str) -> Spread:
    """All rounds of a phase of a contender."""
    return Spread(tuple(r.seconds for r in results if (r.contender, r.phase) == (contender, phase)))


def ratio(results: Sequence[Measured], phase: str) -> float:
    """Our median as a part of the other's."""
    return spread(results, "ours", phase).median / spread(results, "ssh", phase).median


def missed(results: Sequence[Measured]) -> list[str]:
    """The phases that take longer than they may."""
    return [phase for phase in BOUND_PHASES if ratio(results, phase) > MAX_RATIO]


def lines(results: Sequence[Measured], vms: int, repeat: int) -> list[str]:
    """The whole report."""
    objects = ", ".join(f"{number} {what}" for what, number in hosts.expected(vms).items())
    return [
        f"A ring of {vms} VMs with internet on two workers; rounds: {repeat}, interleaved; median (min to max)",
        f"Both made, counted on the hosts: {objects}; and left nothing behind",
        "",
        _row("", TITLES["ours"], TITLES["ssh"], "ratio"),
        *(_phase(results, phase) for phase in PHASES),
        "",
        *(_round_trips(results, phase) for phase in BOUND_PHASES),
        *(_stages(results, phase) for phase in BOUND_PHASES),
        "",
        *_LEGEND.splitlines(),
    ]


def _phase(results: Sequence[Measured], phase: str) -> str:
    part = ratio(results, phase)
    verdict = f"   bound {MAX_RATIO:g}: {'MISSED' if part > MAX_RATIO else 'met'}" if phase in BOUND_PHASES else ""
    commands = _last(results, "ssh", phase)["commands"]
    theirs = f"{spread(results, 'ssh', phase)}, {commands} commands"
    return _row(phase, str(spread(results, "ours", phase)), theirs, f"{part:.3f}{verdict}")


def _row(*cells: str) -> str:
    return "{:<8}{:<28}{:<44}{}".format(*cells).rstrip()


def _round_trips(results: Sequence[Measured], phase: str) -> str:
    trips = _last(results, "ours", phase)["round_trips"]
    return f"{phase}, ours, SSH round trips: " + ", ".join(f"{host} {count}" for host, count in trips.items())


def _stages(results: Sequence[Measured], phase: str) -> str:
    """Where our time goes, in the last round: per stage, each host's time until its last step was done."""
    stages = _last(results, "ours", phase)["stages"]
    parts = (
        f"{stage} " + "/".join(f"{seconds:.2f}" for _, seconds in sorted(by_host.items()))
        for stage, by_host in stages.items()
    )
    return f"{phase}, ours, seconds by stage and host, last round: " + ", ".join(parts)


def _last(results: Sequence[Measured], contender: str, phase: str) -> Facts:
    return [r.facts for r in results if (r.contender, r.phase) == (contender, phase)][-1]

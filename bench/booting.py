"""Guests that boot: the time from the first command until every interface of every guest has its lease."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from bench import hosts
from bench.rounds import Arena
from bench.samples import Sample
from bench.work import Work
from lab import Lab
from lab.errors import wait_until

CONTENDERS = ("ours", "floor")
SECONDS = 600.0


def series(work: Work) -> str:
    """Return the name of the series of these samples."""
    return f"{work} booting"


def measure(arena: Arena, work: Work, rounds: int) -> Iterator[Sample]:
    """Measure each contender, ours first: it copies the guest's image to the workers, which the floor cannot do."""
    work = replace(work, boots=True)
    for number in range(1, rounds + 1):
        for contender in CONTENDERS if number % 2 else reversed(CONTENDERS):
            arena.say(f"{series(work)}, round {number} of {rounds}: {contender}")
            yield from _life(arena, work, contender)


def _life(arena: Arena, work: Work, contender: str) -> Iterator[Sample]:
    with arena.asking(work, contender) as ask:
        ask("design")
        if contender == "ours":
            ask("connect")
        began = time.monotonic()
        facts = ask("deploy")
        yield Sample(series(work), contender, "deploy", facts["seconds"])
        wanted = hosts.expected(work)["TAPs"]
        wait_until(lambda: leases(arena.lab) >= wanted, SECONDS, "every guest has its leases")
        yield Sample(series(work), contender, "leases", time.monotonic() - began, {"leases": wanted})
        ask("delete")


def leases(lab: Lab) -> int:
    """Return the number of different leases that the network node's dnsmasqs have acknowledged."""
    return int(lab.exec("network", hosts.script("count-leases")).stdout)

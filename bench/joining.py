"""A link that joins two running VMs on two workers: the time until both guests ping over it.

The guests have their addresses before: a client of DHCP asks when it likes, and that is the guest's time.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.rounds import ROOT, Arena
from bench.samples import BenchError, Sample
from lab import Lab
from tests.support.lab.visitor import Guest, Menu

SERIES = "a link for a running pair"
PINGED = "both ping"
SECONDS = 60.0
"""The longest wait for an answer."""

MOST_ROUNDS = 8
"""Interfaces of a VM beside the one with a link."""

FILE = "slice: pair\nvms: {a: {flavor: cirros, nics: 9}, b: {flavor: cirros, nics: 9}}\nlinks: [a - b]\n"


def measure(arena: Arena, rounds: int) -> Iterator[Sample]:
    """Deploy a pair once, and add links to it, each on interfaces that had none: they have no lease of before."""
    lab = arena.lab
    slice_id = int(json.loads(_command(lab, "create", "-", "--json", text=FILE))["slice_id"])
    _command(lab, "deploy", "pair", "--wait", "300")
    menu = Menu(lab)
    guests = {vm.name: Guest(lab, slice_id, vm) for vm in menu.topology(slice_id).values()}
    menu.close()
    try:
        if len({guest.vm.worker for guest in guests.values()}) != len(guests):
            raise BenchError("both VMs of the pair are on one worker")
        for number in range(1, min(rounds, MOST_ROUNDS) + 1):
            arena.say(f"{SERIES}, round {number} of {rounds}")
            nic = f"eth{number + 1}"
            addresses = {name: f"10.9.{number}.{place}" for place, name in enumerate(guests, start=1)}
            for name, guest in guests.items():
                guest.run(f"ip addr add {addresses[name]}/24 dev {nic}")
            began = time.monotonic()
            with ThreadPoolExecutor() as pool:
                pings = [pool.submit(_ping, guests[name], addresses[other]) for name, other in ("ab", "ba")]
                _command(lab, "link", "pair", f"a:{nic}", f"b:{nic}", "--services", "none")
                yield Sample(SERIES, "ours", "command", time.monotonic() - began)
                ends = [ping.result() for ping in pings]
            yield Sample(SERIES, "ours", PINGED, max(ends) - began)
    finally:
        for guest in guests.values():
            guest.console.close()
        _command(lab, "delete", "pair", "--yes")


def _ping(guest: Guest, address: str) -> float:
    """Ping until there is an answer, and return its moment; raise `BenchError` where none comes."""
    deadline = time.monotonic() + SECONDS
    while not guest.succeeds(f"ping -c 1 -W 1 {address}"):
        if time.monotonic() > deadline:
            raise BenchError(f"{guest.vm.name} does not reach {address}")
    return time.monotonic()


def _command(lab: Lab, *words: str, text: str = "") -> str:
    """Run a command of the operator on the lab's database, and return its output."""
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database), *words]
    return str(lab.run(argv, input=text, timeout=400).stdout)

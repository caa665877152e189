"""A link that joins two running VMs on two workers: the time until both guests ping over it."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench import hosts
from bench.rounds import ROOT, Arena
from bench.samples import BenchError, Sample
from database import Database
from lab import Lab
from tests.support.lab.visitor import Guest, Menu

SERIES = "a link for a running pair"
PINGED = "both ping"
SECONDS = 60.0
"""The longest wait for an answer."""

MOST_ROUNDS = 8
"""Interfaces of a VM beside the one with a link."""

ASK_WITH_CARRIER = "ask-with-carrier"

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
            nic = number + 1
            for guest in guests.values():
                guest.run(_in_background(ASK_WITH_CARRIER, f"eth{nic}"))
            began = time.monotonic()
            _command(lab, "link", "pair", f"a:eth{nic}", f"b:eth{nic}")
            linked = time.monotonic()
            yield Sample(SERIES, "ours", "command", linked - began)
            addresses = _addresses(lab, slice_id, nic)
            with ThreadPoolExecutor() as pool:
                list(pool.map(_ping, guests.values(), [addresses["b"], addresses["a"]]))
            yield Sample(SERIES, "ours", PINGED, time.monotonic() - linked, {"with command": time.monotonic() - began})
    finally:
        for guest in guests.values():
            guest.console.close()
        _command(lab, "delete", "pair", "--yes")


def _in_background(name: str, word: str) -> str:
    """Return a line for a guest's shell that runs a script of this folder with a word."""
    text = base64.b64encode(hosts.script(name)[2].encode()).decode()
    return f"echo {text} | base64 -d | sh -s {word} >/dev/null 2>&1 &"


def _ping(guest: Guest, address: str) -> None:
    """Ping until there is an answer, or raise `BenchError`; a guest without an address yet is asked again."""
    deadline = time.monotonic() + SECONDS
    while not guest.succeeds(f"ping -c 1 -W 1 {address}"):
        if time.monotonic() > deadline:
            raise BenchError(f"{guest.vm.name} does not reach {address}")


def _addresses(lab: Lab, slice_id: int, nic: int) -> dict[str, str]:
    """Return the address of each VM on the link of an interface."""
    slice_ = Database(lab.database).load().slices[slice_id]
    return {vm.name: slice_.address_of(vm, vm.interfaces[nic]) or "" for vm in slice_.vms}


def _command(lab: Lab, *words: str, text: str = "") -> str:
    """Run a command of the operator on the lab's database, and return its output."""
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database), *words]
    return str(lab.run(argv, input=text, timeout=400).stdout)

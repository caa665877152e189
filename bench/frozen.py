"""The first floor: the commands of the first day of measurements, kept as data, so that the yardstick stays the same.

`first-floor.json.xz` has the whole life of each work as scripts, with placeholders for differences of machines. It is
no stored time, because a time belongs to one machine. It is no ratio to another program (a loop of `ovs-vsctl`, a start
of QEMU) either, because that would grow differently with cores and kernels.
"""

from __future__ import annotations

import json
import lzma
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bench import jobs
from bench.jobs import Life, Turn
from bench.samples import BenchError
from bench.work import Work
from core.inventory import HypervisorSettings, Inventory

FILE = Path(__file__).with_name("first-floor.json.xz")
IMAGE = Path("/blank.qcow2")
ADDRESSES = ("10.0.10.1", "10.0.10.2", "10.0.10.4", "10.0.10.5")
_ACCEL = "@ACCEL@"
_SIZES = (2, 8, 20, 40, 80)


def works() -> list[Work]:
    """Return the kept works: every size and shape on two workers, rings on four as well."""
    two = [Work(shape, vms) for shape in ("ring", "line") for vms in _SIZES]
    return [*two, *(Work("ring", vms, 4) for vms in _SIZES)]


def life(work: Work, inventory: Inventory) -> Life:
    """Return the life of a work as it was kept; raise BenchError where it was not."""
    kept = _kept().get(str(work))
    if kept is None or work.per_slice != Work(work.shape, work.vms).per_slice:
        raise BenchError(f"the first floor has no {work}; it has {', '.join(_kept())}")
    accel = inventory.hypervisor.accel
    words = " -accel ".join(("kvm", "tcg") if accel == "auto" else (accel,))
    return {phase: [_turn(record, words) for record in turns] for phase, turns in kept.items()}


def freeze() -> None:
    """Replace the kept commands by today's: the yardstick starts again, so this is done once."""
    inventory = replace(Inventory(), workers_list=ADDRESSES, hypervisor=_like_the_lab())
    kept = {
        str(work): {
            phase: [{"title": turn.title, "scripts": turn.scripts} for turn in turns]
            for phase, turns in jobs.life(work, inventory, IMAGE).items()
        }
        for work in works()
    }
    FILE.write_bytes(lzma.compress(json.dumps(kept).encode(), preset=9 | lzma.PRESET_EXTREME))


def _like_the_lab() -> HypervisorSettings:
    return HypervisorSettings(accel=_ACCEL)


@cache
def _kept() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(lzma.decompress(FILE.read_bytes()))
    return kept


def _turn(record: dict[str, Any], accel: str) -> Turn:
    scripts = {host: body.replace(_ACCEL, accel) for host, body in record["scripts"].items()}
    return Turn(record["title"], {host: [] for host in scripts}, scripts)


if __name__ == "__main__":
    if sys.argv[1:] != ["freeze"]:
        sys.exit("usage: python -m bench.frozen freeze")
    freeze()

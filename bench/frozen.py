"""The first floor: the commands of the day on which this was first measured, kept as data, so that the yardstick stays.

`first-floor.json.xz` has the whole life of each work as scripts, with placeholders where a machine differs. Kept as
data and not as a time, because a time is one machine's; not as a ratio to something else either, for whatever that is
(a loop of `ovs-vsctl`, a QEMU that starts) would grow differently with cores and kernels than these commands do.
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
    """What is kept: every size and shape on two workers, rings on four as well."""
    two = [Work(shape, vms) for shape in ("ring", "line") for vms in _SIZES]
    return [*two, *(Work("ring", vms, 4) for vms in _SIZES)]


def life(work: Work, inventory: Inventory) -> Life:
    """The work as it was done then; BenchError when this work was not kept."""
    kept = _kept().get(str(work))
    if kept is None or work.per_slice != Work(work.shape, work.vms).per_slice:
        raise BenchError(f"the first floor has no {work}; it has {', '.join(_kept())}")
    accel = inventory.hypervisor.accel
    words = " -accel ".join(("kvm", "tcg") if accel == "auto" else (accel,))
    return {phase: [_turn(record, words) for record in turns] for phase, turns in kept.items()}


def freeze() -> None:
    """Keep today's commands instead: the yardstick begins anew, so this is done once."""
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

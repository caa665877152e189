"""Seeds on a worker: one file beside the overlay of each VM whose flavor takes a seed. Returns steps."""

from __future__ import annotations

from collections.abc import Iterable

from core.names import VMFiles, process_name, slice_part
from machines.seed import seed, takes_seed
from models import VM, Slice
from remote.plan import Command, Part, Step, about
from shell.scripts import load

SEEDS = "seeds"
"""The name of the answer about seeds that were there before a change."""

_CHECK_SEEDS = load("disks/check-seeds")
_SEED_IS_WRITTEN = load("disks/seed-is-written")
_WRITE_SEED = load("disks/write-seed")


class SeedFiles:
    """Plans the seeds of VMs, in the folders of their slices below `images_path`."""

    def __init__(self, images_path: str) -> None:
        self._images = images_path

    def check(self, slice_: Slice, worker: str) -> Iterable[Step]:
        """Yield the read-only check of the slice's seeds on a worker, where it has some."""
        seeds = [self._files(slice_, vm).seed for vm in slice_.vms if vm.worker_ip == worker and takes_seed(vm)]
        if seeds:
            yield Step(worker, "places for the seeds", (Command(_CHECK_SEEDS.argv(*seeds), as_user=True, name=SEEDS),))

    def write(self, slice_: Slice, vms: Iterable[VM]) -> Iterable[Step]:
        """Yield the steps that write the seeds of those VMs that take one, unless they are there already."""
        return (self._write(slice_, vm) for vm in vms if takes_seed(vm))

    def _write(self, slice_: Slice, vm: VM) -> Step:
        made, files = seed(slice_, vm), self._files(slice_, vm)
        process = files.pid_file, process_name(slice_.slice_id, vm.vm_id)
        write = Command(
            _WRITE_SEED.argv(files.seed),
            stdin=f"{made.packed}\n",
            unless=_SEED_IS_WRITTEN.argv(files.seed, made.digest, *process),
            as_user=True,
            secret=True,
        )
        remove = Command(("rm", "-f"), as_user=True, before=SEEDS)
        return Step(
            vm.worker_ip,
            f"seed of {vm.name}",
            do=(write,),
            undo=(about(remove, (Part(files.seed, (files.seed, f"{files.seed}.part")),)),),
            objects=(f"{slice_part(slice_.slice_id)}/{vm.name}.seed",),
        )

    def _files(self, slice_: Slice, vm: VM) -> VMFiles:
        return VMFiles(self._images, slice_.slice_id, vm.name)

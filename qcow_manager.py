"""Disks on a worker: the cached base image, and one thin qcow2 overlay per VM (docs/spec/flavors.md), with its seed.

Returns steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import PurePosixPath

from core.inventory import HypervisorSettings
from core.names import VMFiles, slice_part
from images.copies import Copies
from machines.disks import FurtherDisk, further_disks, part_of
from machines.seed import takes_seed
from machines.seed_files import SeedFiles
from models import NOWHERE, VM, Slice
from remote.plan import Command, Part, Step, about
from shell.scripts import load

_MAKE_OVERLAY = load("disks/make-overlay")
_MAKE_DISK = load("disks/make-disk")
_CHECK_FREE_DISKS = load("disks/check-free-disks")
_CHECK_DISKS = load("disks/check-disks")
_SET_ASIDE = load("disks/set-aside")
_RESTORE_DISKS = load("disks/restore-disks")

DISKS = "disks"
"""The name of the answer about folders and overlays of a slice before a change."""


class QCOWManager:
    """Plans the disks of VMs; `images_path` of the settings is the worker's folder for them."""

    def __init__(self, hypervisor: HypervisorSettings) -> None:
        self._images = hypervisor.images_path
        self._copies = Copies(self._images)
        self._seeds = SeedFiles(self._images)

    def create_backing_image(self, slice_: Slice, vm: VM) -> tuple[Step, ...]:
        """Return the steps that make the disks of `vm`: they cache its images on the worker and create the overlay.

        The cached images are shared by all slices and stay when a slice is deleted.
        """
        owner = slice_part(slice_.slice_id)
        images = (self._copies.cache(vm.worker_ip, image, owner) for image in vm.images)
        return (*images, *self.disk(slice_, vm))

    def disk(self, slice_: Slice, vm: VM) -> tuple[Step, ...]:
        """Return the steps that make the slice's folder and the VM's disks in it.

        A VM of an older file may have no base image recorded. Its overlay can be removed, but not made.
        """
        overlay = self._make_overlay(slice_, vm, PurePosixPath(vm.image or "").name)
        further = (self._make_further(slice_, vm, disk) for disk in further_disks(vm, self._files(slice_, vm)))
        return self._make_folder(slice_, vm), overlay if vm.image else replace(overlay, do=()), *further

    def check_free_disks(self, slice_: Slice, vms: Sequence[VM]) -> tuple[Step, ...]:
        """Return the checks that the names of new VMs' disks are free, or taken by these VMs' own disks.

        A worker without earlier VMs of the slice must have no folder of it. No two workers may share a folder.
        """
        new = {vm.vm_id for vm in vms if vm.disk_id}
        workers = dict.fromkeys(vm.worker_ip for vm in vms if vm.vm_id in new)
        return tuple(self._check_free_disks(slice_, worker, new) for worker in workers)

    def _check_free_disks(self, slice_: Slice, worker: str, new: Collection[int]) -> Step:
        here = [vm for vm in slice_.vms if vm.worker_ip == worker]
        folder = "" if any(vm.vm_id not in new for vm in here) else self._files(slice_, here[0]).folder
        disks = [word for vm in here if vm.vm_id in new for word in self._disks(slice_, vm)]
        others = [vm for vm in slice_.vms if vm.worker_ip != worker and vm.disk_id]
        elsewhere = [word for vm in others for word in (self._disk(slice_, vm)[1], vm.worker_ip)]
        words = (folder, str(len(others)), *elsewhere, *disks)
        look = Command(_CHECK_FREE_DISKS.argv(*words), as_user=True)
        return Step(worker, "place for the disks", (look,))

    def remove_empty_folders(self, slice_: Slice, vms: Iterable[VM]) -> Iterable[Step]:
        """Return the steps that remove folders without disks: an earlier run of the same change left them."""
        folders = dict.fromkeys((vm.worker_ip, self._files(slice_, vm).folder) for vm in vms)
        for worker, folder in folders:
            gone = ("test", "!", "-e", folder)
            remove = Command(("rmdir", "--ignore-fail-on-non-empty", folder), unless=gone, as_user=True)
            yield Step(worker, "empty folder of the disks", (remove,))

    def preflight(self, slice_: Slice, *, new: bool) -> Iterable[Step]:  # noqa: ARG002 - also a new slice has disks
        """Yield read-only checks: base images and overlays that exist are the slice's and were not changed since.

        Folders, overlays and seeds that exist are printed.
        """
        for worker in slice_.workers:
            yield from self._check_disks(slice_, worker)
            yield from self._seeds.check(slice_, worker)

    def prepare(self, slice_: Slice) -> Iterable[Step]:
        """Yield the steps that make the disks and the seeds of all VMs."""
        yield from self.make_disks(slice_, slice_.vms)
        yield from self._seeds.write(slice_, slice_.placed)

    def make_disks(self, slice_: Slice, vms: Iterable[VM]) -> Iterable[Step]:
        """Return the steps that make the disks of VMs with a worker; base image and folder, which they share, once."""
        placed = (vm for vm in vms if vm.worker_ip != NOWHERE)
        return dict.fromkeys(step for vm in placed for step in self.create_backing_image(slice_, vm))

    def renew_disks(self, slice_: Slice, vm: VM) -> tuple[Step, ...]:
        """Return the steps that set the disks of `vm` aside and make new ones. `vm` has the ids of old and new disk."""
        made = copy(vm)
        made.old_disk = None  # the undo of the new disks leaves the old ones alone
        disks, files = self._renewed(slice_, vm), self._files(slice_, vm)
        is_done = ("test", "-e", files.mark(vm.disk_id or ""))
        set_aside = Command(_SET_ASIDE.argv(*disks), unless=is_done, as_user=True)
        old_mark = files.mark(vm.old_disk.disk_id if vm.old_disk else "")
        restore = Command(_RESTORE_DISKS.argv(old_mark, *disks), as_user=True)
        names = tuple(f"{slice_part(slice_.slice_id)}/{PurePosixPath(disk).name}" for disk in disks)
        old = Step(vm.worker_ip, f"old disk of {vm.name}", (set_aside,), (restore,), objects=names)
        return old, *self.disk(slice_, made)[1:]

    def write_seeds(self, slice_: Slice, worker: str, vms: Iterable[VM]) -> Iterator[Step]:
        """Yield the steps that write the seeds of VMs that are about to start, where they are not as they should be."""
        if steps := tuple(self._seeds.write(slice_, vms)):
            yield from self._seeds.check(slice_, worker)
            yield from steps

    def discard_disks(self, slice_: Slice, worker: str, vms: Iterable[VM]) -> Step:
        """Return the step that removes the disks that were set aside. It has no undo."""
        old = [aside(disk) for vm in vms for disk in self._renewed(slice_, vm)]
        return Step(worker, "removal of old disks", (Command(("rm", "-f", *old), as_user=True),))

    @staticmethod
    def launch(_slice: Slice) -> Iterable[Step]:
        """Return no step: a VM starts with the disk that is prepared."""
        return ()

    @staticmethod
    def verify(_slice: Slice) -> Iterable[Step]:
        """Return no step: a VM that runs has its disk open."""
        return ()

    def _check_disks(self, slice_: Slice, worker: str) -> tuple[Step, ...]:
        disks: dict[str, list[str]] = {}
        for vm in slice_.vms:
            if vm.worker_ip == worker:
                images = [PurePosixPath(image).name for image in vm.images]
                for name in images:
                    disks.setdefault(name, []).extend(self._disks(slice_, vm) if name == images[0] else ())
        return tuple(
            Step(
                worker,
                f"disks on {name}",
                (Command(_CHECK_DISKS.argv(*self._copies.paths(name), *found), as_user=True, name=DISKS),),
            )
            for name, found in disks.items()
        )

    def overlay_path(self, slice_: Slice, vm: VM) -> str:
        """Return the overlay as `database.yaml` names it, e.g. `~/vm_images/slice-1000/vm1_img.qcow2`."""
        overlay = self._files(slice_, vm).overlay
        return overlay if overlay.startswith("/") else f"~/{overlay}"

    def _make_folder(self, slice_: Slice, vm: VM) -> Step:
        folder = self._files(slice_, vm).folder
        make = Command(("mkdir", "-p", "-m", "700", folder), unless=("test", "-d", folder), as_user=True)
        gone = ("test", "!", "-e", folder)
        remove = Command(("rmdir", "--ignore-fail-on-non-empty"), unless=gone, as_user=True, before=DISKS)
        undo = about(remove, (Part(folder, (folder,)),))
        return Step(vm.worker_ip, "folder of the disks", (make,), (undo,), objects=(slice_part(slice_.slice_id),))

    def _make_overlay(self, slice_: Slice, vm: VM, base: str) -> Step:
        """Return the step that makes the VM's overlay; its undo removes the VM's own overlay only.

        The mark is removed last: an overlay that could not be removed is still known as the VM's at the next try.
        """
        overlay, mark = self._disk(slice_, vm)
        make = _MAKE_OVERLAY.argv(f"../{base}", overlay, str(vm.disk_mib), mark, str(vm.largest_image_mib))
        is_own = ("test", "-e", overlay, *(("-a", "-e", mark) if mark else ()))
        marks = self._marks(slice_, vm)
        set_aside = [aside(disk) for disk in self._renewed(slice_, vm)] if vm.old_disk else ()
        is_anothers = ("test", *_none_of(*marks)) if marks else ()
        rm = Command(("rm", "-f"), as_user=True, before=DISKS)
        remove = about(replace(rm, unless=is_anothers), (Part(overlay, (overlay, f"{overlay}.part", *set_aside)),))
        others = (word for disk in self._paths(slice_, vm)[1:] for word in ("-o", "-e", disk))
        is_needed = ("test", "-e", overlay, *others, "-o", *_none_of(*marks))
        unmark = about(replace(rm, unless=is_needed), (Part(overlay, marks),))
        return Step(
            vm.worker_ip,
            f"overlay of {vm.name}",
            do=(Command(make, unless=is_own, as_user=True),),
            undo=(remove, unmark) if mark else (remove,),
            objects=(f"{slice_part(slice_.slice_id)}/{PurePosixPath(overlay).name}",),
        )

    def _make_further(self, slice_: Slice, vm: VM, disk: FurtherDisk) -> Step:
        """Return the step that makes a disk beside the overlay, whose mark says that both are the VM's."""
        marks = self._marks(slice_, vm)
        is_anothers = ("test", *_none_of(*marks)) if marks else ()
        remove = Command(("rm", "-f"), unless=is_anothers, as_user=True, before=DISKS)
        return Step(
            vm.worker_ip,
            disk.title,
            do=(Command(_MAKE_DISK.argv(disk.path, *disk.make), unless=("test", "-e", disk.path), as_user=True),),
            undo=(about(remove, (Part(disk.path, (disk.path, part_of(disk.path))),)),),
            objects=(f"{slice_part(slice_.slice_id)}/{PurePosixPath(disk.path).name}",),
        )

    def _disk(self, slice_: Slice, vm: VM) -> tuple[str, str]:
        """Return overlay and mark; the disk of a VM of an older file has no mark."""
        files = self._files(slice_, vm)
        return files.overlay, files.mark(vm.disk_id) if vm.disk_id else ""

    def _disks(self, slice_: Slice, vm: VM) -> list[str]:
        """Return the VM's disks, each with the mark: the overlay first."""
        _, mark = self._disk(slice_, vm)
        return [word for path in self._paths(slice_, vm) for word in (path, mark)]

    def _paths(self, slice_: Slice, vm: VM) -> tuple[str, ...]:
        """Return the paths of the VM's disks: the overlay first."""
        files = self._files(slice_, vm)
        return files.overlay, *(disk.path for disk in further_disks(vm, files))

    def _renewed(self, slice_: Slice, vm: VM) -> tuple[str, ...]:
        """Return the paths of all that a reset renews: the disks, and the seed where there is one."""
        seed = (self._files(slice_, vm).seed,) if takes_seed(vm) else ()
        return *self._paths(slice_, vm), *seed

    def _marks(self, slice_: Slice, vm: VM) -> tuple[str, ...]:
        """Return the marks that prove that disks are the VM's: during a reset those of the old and the new disk."""
        files = self._files(slice_, vm)
        ids = (vm.disk_id, vm.old_disk.disk_id if vm.old_disk else None)
        return tuple(files.mark(disk_id) for disk_id in ids if disk_id)

    def _files(self, slice_: Slice, vm: VM) -> VMFiles:
        return VMFiles(self._images, slice_.slice_id, vm.name)


def aside(disk: str) -> str:
    """Return the name of a disk that a reset has set aside."""
    return f"{disk}.old"


def _none_of(*paths: str) -> tuple[str, ...]:
    """Return the words for test(1) that none of the paths is there."""
    return tuple(word for path in paths for word in ("-a", "!", "-e", path))[1:]

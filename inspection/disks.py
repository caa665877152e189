"""Problems of a VM's disks on its worker, and of the images that they are built on. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from core.names import VMFiles
from inspection.facts import Facts
from machines.disks import further_disks
from machines.snapshots import name_of
from models import VM


def problems(vm: VM, files: VMFiles, images: str, facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield the code and the words of each problem; `images` is the worker's folder for images."""
    if not _is_there(files.overlay, images, facts):
        yield "overlay-missing", f"the disk of {vm.name} is not there"
    elif vm.disk_id and not _is_there(mark := files.mark(vm.disk_id), images, facts):
        yield "disk-foreign", f"the disk of {vm.name} is not its own: {mark} is not there"
    yield from _snapshot_problems(vm, files.overlay.removeprefix(f"{images}/"), facts)
    for disk in further_disks(vm, files):
        if not _is_there(disk.path, images, facts):
            yield "overlay-missing", f"the {disk.title} is not there"
    for image in vm.images:
        if what := _image_problem(PurePosixPath(image).name, facts):
            yield "image-changed", what


def _snapshot_problems(vm: VM, path: str, facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield the snapshots that only the disk or only the database has; one that is being taken may be in either."""
    if not facts.was_asked("snapshots"):
        return
    there = {name for tag in facts.snapshots.get(path, ()) if (name := name_of(tag)) is not None}
    for each in vm.snapshots:
        if each.name not in there and not each.begun:
            yield "snapshot-missing", f"the disk of {vm.name} has no snapshot {each.name}"
    for name in sorted(there - {each.name for each in vm.snapshots}):
        yield "snapshot-foreign", f"the disk of {vm.name} has a snapshot {name} that is not in the database"


def _is_there(path: str, images: str, facts: Facts) -> bool:
    return path.removeprefix(f"{images}/") in facts.files


def _image_problem(name: str, facts: Facts) -> str:
    if name not in facts.images:
        return f"the base image {name} is not there"
    if facts.files.get(name) == 0:
        return f"the base image {name} is empty, as a power cut can leave it"
    fingerprint = facts.fingerprints.get(name, facts.images[name])  # older versions made none
    return "" if fingerprint == facts.images[name] else f"{name} is not the image that disks of VMs were built on"

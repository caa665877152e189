"""Disks on a worker: the cached base image, and one thin qcow2 overlay per VM (docs/spec/flavors.md). Returns steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from core.inventory import HypervisorSettings
from core.names import VMFiles, slice_part, upload_part
from models import VM, Slice
from remote.plan import Command, Step, Upload

# What is there under the name of a VM and is not marked as its own belongs to somebody whom the database has forgotten:
# an older version of it was put back, say. An overlay that exists is a good one, but not for this VM's owner.
_TAKEN = (
    "is there already, of a slice that database.yaml does not know (was an older version put back?); create another "
    "slice and delete this one, then an operator removes it with: python3 cli.py doctor --fix"
)

# A guest's disk is the flavor's, but never smaller than the base image, which would cut off its end: that one's size
# is in its header (QEMU's docs/interop/qcow2.txt). An image that is larger than the flavor promises is refused; there
# may be part of a MiB between. A size of 2^63 bytes and more is shown as negative. A disk gets its name when it is
# whole: an overlay that exists is a good one, also after a crash half-way. Its mark is there before it, so that
# nothing of it is ever without an owner. A mark of others without an overlay says nothing; it goes, or the new
# overlay would have two.
_MAKE_OVERLAY = f"""base=$1 overlay=$2 size=$(($3 * 1048576)) mark=$4 most=$5
[ ! -e "$overlay" ] || {{ echo "$overlay {_TAKEN}" >&2; exit 1; }}
least=$(od -An -t d8 --endian=big -j 24 -N 8 "${{overlay%/*}}/$base") || exit
[ "$((least))" -ge 0 ] && [ "$((least))" -le $((most * 1048576)) ] || {{
  printf '%s\n' "the base image ${{base##*/}} is a disk of $((least / 1048576)) MiB, and the flavor has $most MiB:\
 have the operator raise its disk_gb, or shrink the image" >&2
  exit 1
}}
[ "$size" -ge "$((least))" ] || size=$((least))
[ -z "$mark" ] || : >"$mark" || exit
for other in "${{overlay%_img.qcow2}}".id-*; do
  [ "$other" = "$mark" ] || [ ! -e "$other" ] || rm -f "$other" || exit
done
qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$overlay.part" "$size" >&2 && mv "$overlay.part" "$overlay\""""

# Overlays and their marks in pairs; before them, marks of the slice's disks on other workers, each with its worker: one
# that is here says that both have one folder. The slice's folder is named where nothing in it can be the slice's but
# what is asked for.
_ARE_FREE = f"""folder=$1 elsewhere=$2 taken=; shift 2
while [ "$elsewhere" -gt 0 ]; do
  [ ! -e "$1" ] || {{
    echo "${{1%/*/*}} there is the folder that $2 has, too; give each worker its own (hypervisor: images_dir)" >&2
    exit 1
  }}
  shift 2; elsewhere=$((elsewhere - 1))
done
while [ $# -gt 0 ]; do
  if [ -e "$2" ]; then folder=; elif [ -e "$1" ]; then taken=$1; fi
  shift 2
done
[ ! -e "$folder" ] || taken=$folder
[ -z "$taken" ] || {{ echo "$taken {_TAKEN}" >&2; exit 1; }}"""

# A qcow2 file can name others, which QEMU would open for the guest: any that the SSH user may read. Where a file ends
# too early, its own tables point beyond its end. Status 3: clusters that nobody uses, which is no damage.
_IS_WHOLE = """case $(qemu-img info -U -f qcow2 --output=json "$1" 2>/dev/null) in
  *'"backing-filename"'* | *'"data-file"'*) printf '%s\n' "$2 names another file as a part of it; $3" >&2; exit 1;;
esac
qemu-img check -q -U -f qcow2 "$1" >/dev/null 2>&1
case $? in 0 | 3) ;; *) printf '%s\n' "$2 is not a whole qcow2 image; $3" >&2; exit 1;; esac
"""

_IS_SEALED = """[ "$(stat -c '%s %Y' "$1" 2>/dev/null)" = "$(cat "$2" 2>/dev/null)" ]"""

# A slice's own seal of a file that it has looked at; it becomes the seal of the image, if that is what it is of.
_PREPARE_SEAL = """stat -c '%s %Y' "$1" >"$4"\n"""

# Disks of VMs hold only what differs from their base image: with another one under them, they are garbage. What was
# brought just now was looked at before it got its name.
_SEAL = f"""if [ -s "$5" ]; then
  {_IS_SEALED.replace('"$2"', '"$5"')} && exit
  printf '%s\n' "$1 is not the image that disks of VMs were built on; put that one back (if it is that one, or\\
 no disk is left on it: rm $5)" >&2; exit 1
fi
[ -s "$4" ] && {_IS_SEALED.replace('"$2"', '"$4"')} || {{
{_IS_WHOLE}{_PREPARE_SEAL}}} && {{ mv "$4" "$5" 2>/dev/null || [ -s "$5" ]; }}
""".rstrip()

_ARE_GOOD = f"""base=$1 seal=$2; shift 2
if [ -s "$base" ] && [ -s "$seal" ]; then
  {_IS_SEALED.replace('"$1"', '"$base"').replace('"$2"', '"$seal"')} || {{
    printf '%s\n' "$base is not the image that disks of VMs were built on; put that one back (if it is that one, or\\
 no disk is left on it: rm $seal)" >&2
    exit 1
  }}
fi
while [ $# -gt 0 ]; do
  disk=$1 mark=$2; shift 2
  [ -e "$disk" ] || continue
  [ -z "$mark" ] || [ -e "$mark" ] || {{
    echo "the disk $disk is another VM's (was an older database.yaml put back?); delete the slice, which leaves that\\
 disk alone, or have the operator look (if it is this VM's: touch $mark)" >&2; exit 1
  }}
  qemu-img info -U -f qcow2 "$disk" >/dev/null 2>&1 ||
    {{ echo "the disk $disk is damaged; bring it back from a copy, or delete the slice" >&2; exit 1; }}
done"""


class QCOWManager:
    """Plans the disks of VMs; `images_path` of the settings is the worker's folder for them."""

    def __init__(self, hypervisor: HypervisorSettings) -> None:
        self._images = hypervisor.images_path

    def create_backing_image(self, slice_: Slice, vm: VM) -> tuple[Step, ...]:
        """The steps that leave `vm` with its disk: base image cached on the worker, overlay made.

        The cached base image is shared by all slices and stays when a slice is deleted.
        """
        base = () if vm.image is None else (self._cache_base(slice_, vm, vm.image),)
        return (*base, *self.disk(slice_, vm))

    def disk(self, slice_: Slice, vm: VM) -> tuple[Step, Step]:
        """The slice's folder and the overlay in it.

        A VM of an older file may have no base image recorded: its overlay can be removed, and not made.
        """
        overlay = self._make_overlay(slice_, vm, PurePosixPath(vm.image or "").name)
        return self._make_folder(slice_, vm), overlay if vm.image else replace(overlay, do=())

    def require_free(self, slice_: Slice, vms: Sequence[VM]) -> tuple[Step, ...]:
        """Read-only: no disk but their own is there under the names of new VMs.

        Nor is there a folder of the slice on a worker on which it has no others, nor one that two workers share.
        """
        new = {vm.vm_id for vm in vms if vm.disk_id}
        workers = dict.fromkeys(vm.worker_ip for vm in vms if vm.vm_id in new)
        return tuple(self._require_free(slice_, worker, new) for worker in workers)

    def _require_free(self, slice_: Slice, worker: str, new: Collection[int]) -> Step:
        here = [vm for vm in slice_.vms if vm.worker_ip == worker]
        folder = "" if any(vm.vm_id not in new for vm in here) else self._files(slice_, here[0]).folder
        disks = [word for vm in here if vm.vm_id in new for word in self._disk(slice_, vm)]
        others = [vm for vm in slice_.vms if vm.worker_ip != worker and vm.disk_id]
        elsewhere = [word for vm in others for word in (self._disk(slice_, vm)[1], vm.worker_ip)]
        words = (folder, str(len(others)), *elsewhere, *disks)
        look = Command(("sh", "-c", _ARE_FREE, "sh", *words), as_user=True)
        return Step(worker, "place for the disks", (look,))

    def preflight(self, slice_: Slice, worker: str) -> tuple[Step, ...]:
        """Read-only: base images and overlays that are there already are the slice's and were not changed since."""
        disks: dict[str, list[str]] = {}
        for vm in slice_.vms:
            if vm.worker_ip == worker and vm.image is not None:
                disks.setdefault(PurePosixPath(vm.image).name, []).extend(self._disk(slice_, vm))
        return tuple(
            Step(
                worker,
                f"disks on {name}",
                (Command(("sh", "-c", _ARE_GOOD, "sh", *self._base(name), *found), as_user=True),),
            )
            for name, found in disks.items()
        )

    def _base(self, name: str) -> tuple[str, str]:
        """A base image on a worker, and its seal: size and time of change, as they were when it was first used."""
        return f"{self._images}/{name}", f"{self._images}/.{name}.seal"

    def image_path(self, slice_: Slice, vm: VM) -> str:
        """The overlay as `database.yaml` names it, e.g. `~/vm_images/slice-1000/vm1_img.qcow2`."""
        overlay = self._files(slice_, vm).overlay
        return overlay if overlay.startswith("/") else f"~/{overlay}"

    def _cache_base(self, slice_: Slice, vm: VM, image: str) -> Step:
        name = PurePosixPath(image).name
        target, seal = self._base(name)
        part, prepared = (f"{self._images}/{upload_part(each, slice_.slice_id)}" for each in (name, f"{name}.seal"))
        is_there = ("test", "-s", target)
        whole = ("sh", "-c", _IS_WHOLE + _PREPARE_SEAL, "sh", part, f"{image} on the manager", "replace it", prepared)
        advice = "remove it there, and a good one is brought"
        return Step(
            vm.worker_ip,
            f"base image {name}",
            do=(
                Command(("mkdir", "-p", self._images), unless=("test", "-d", self._images), as_user=True),
                Command(("rm", "-f", seal), unless=is_there, as_user=True),
                Upload(image, target, part, unless=is_there, check=whole, is_image=True),
                Command(
                    ("sh", "-c", _SEAL, "sh", target, target, advice, prepared, seal),
                    unless=("sh", "-c", _IS_SEALED, "sh", target, seal),
                    as_user=True,
                ),
            ),
            # Where a name is too long for any file, rm(1) fails, and nothing was ever there.
            undo=(Command(("rm", "-f", part, prepared), unless=("test", *_none_of(part, prepared)), as_user=True),),
            residue=f"unfinished copy of {name}",
            objects=(name,),
        )

    def _make_folder(self, slice_: Slice, vm: VM) -> Step:
        folder = self._files(slice_, vm).folder
        make = Command(("mkdir", "-p", "-m", "700", folder), unless=("test", "-d", folder), as_user=True)
        gone = ("test", "!", "-e", folder)
        remove = Command(("rmdir", "--ignore-fail-on-non-empty", folder), unless=gone, as_user=True)
        return Step(vm.worker_ip, "folder of the disks", (make,), (remove,), objects=(slice_part(slice_.slice_id),))

    def _make_overlay(self, slice_: Slice, vm: VM, base: str) -> Step:
        """Whatever came before, this makes and removes the VM's own disk only.

        The mark goes last: what could not be removed is still known as the VM's when that is tried again.
        """
        overlay, mark = self._disk(slice_, vm)
        make = (
            "sh",
            "-c",
            _MAKE_OVERLAY,
            "sh",
            f"../{base}",
            overlay,
            str(vm.disk_mib),
            mark,
            str(vm.largest_image_mib),
        )
        is_own = ("test", "-e", overlay, *(("-a", "-e", mark) if mark else ()))
        is_anothers = ("test", "!", "-e", mark) if mark else ()
        remove = Command(("rm", "-f", overlay, f"{overlay}.part"), unless=is_anothers, as_user=True)
        unmark = Command(("rm", "-f", mark), unless=("test", "-e", overlay, "-o", "!", "-e", mark), as_user=True)
        return Step(
            vm.worker_ip,
            f"overlay of {vm.name}",
            do=(Command(make, unless=is_own, as_user=True),),
            undo=(remove, unmark) if mark else (remove,),
            objects=(f"{slice_part(slice_.slice_id)}/{PurePosixPath(overlay).name}",),
        )

    def _disk(self, slice_: Slice, vm: VM) -> tuple[str, str]:
        """Overlay and mark; the disk of a VM of an older file has none."""
        files = self._files(slice_, vm)
        return files.overlay, files.mark(vm.disk_id) if vm.disk_id else ""

    def _files(self, slice_: Slice, vm: VM) -> VMFiles:
        return VMFiles(self._images, slice_.slice_id, vm.name)


def _none_of(*paths: str) -> tuple[str, ...]:
    """The words for test(1) that none of the paths is there."""
    return tuple(word for path in paths for word in ("-a", "!", "-e", path))[1:]

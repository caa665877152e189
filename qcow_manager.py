"""Disks on a worker: the cached base image, and one thin qcow2 overlay per VM (spec/flavors.txt). Returns steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from inventory import HypervisorSettings
from models import VM, Slice
from names import VMFiles, upload_part
from remote.plan import Command, Step, Upload

# A guest's disk is the flavor's, but never smaller than the base image, which would cut off its end: that one's size is
# in its header (docs/interop/qcow2.txt). A disk gets its name when it is whole: an overlay that exists is a good one,
# also after a crash half-way.
_MAKE_OVERLAY = """base=$1 overlay=$2 size=$(($3 * 1048576))
least=$(od -An -t d8 --endian=big -j 24 -N 8 "${overlay%/*}/$base") || exit
[ "$size" -ge "$((least))" ] || size=$((least))
qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$overlay.part" "$size" >&2 && mv "$overlay.part" "$overlay\""""

# What is there under the name of a new VM belongs to somebody whom the database has forgotten: an older version of it
# was put back, say. An overlay that exists is a good one, but not for this VM's owner.
_IS_FREE = """[ ! -e "$1" ] || { echo "$1 is there already, of a slice that database.yaml does not know (was an older\\
 version put back?); create another slice, and have the operator look" >&2; exit 1; }"""


# A qcow2 file can name others, which QEMU would open for the guest: any that the SSH user may read. Where a file ends
# too early, its own tables point beyond its end. Status 3: clusters that nobody uses, which is no damage.
_IS_WHOLE = """case $(qemu-img info -U -f qcow2 --output=json "$1" 2>/dev/null) in
  *'"backing-filename"'* | *'"data-file"'*) echo "$2 names another file as a part of it; $3" >&2; exit 1;;
esac
qemu-img check -q -U -f qcow2 "$1" >/dev/null 2>&1
case $? in 0 | 3) ;; *) echo "$2 is not a whole qcow2 image; $3" >&2; exit 1;; esac
"""

_IS_SEALED = """[ "$(stat -c '%s %Y' "$1" 2>/dev/null)" = "$(cat "$2" 2>/dev/null)" ]"""

# Disks of VMs hold only what differs from their base image: with another one under them, they are garbage.
_SEAL = f"""if [ -s "$4" ]; then
  {_IS_SEALED.replace('"$2"', '"$4"')} && exit
  echo "$1 is not the image that disks of VMs were built on; put that one back (if it is that one: rm $4)" >&2; exit 1
fi
{_IS_WHOLE}stat -c '%s %Y' "$1" >"$4.part" && {{ mv "$4.part" "$4" 2>/dev/null || [ -s "$4" ]; }}
"""

_ARE_GOOD = f"""base=$1 seal=$2; shift 2
if [ -e "$base" ] && [ -s "$seal" ]; then
  {_IS_SEALED.replace('"$1"', '"$base"').replace('"$2"', '"$seal"')} || {{
    echo "$base is not the image that disks of VMs were built on; put that one back (if it is that one: rm $seal)" >&2
    exit 1
  }}
fi
for disk; do
  [ ! -e "$disk" ] || qemu-img info -U -f qcow2 "$disk" >/dev/null 2>&1 ||
    {{ echo "the disk $disk is damaged; bring it back from a copy, or delete the slice" >&2; exit 1; }}
done"""


class QCOWManager:
    """Plans the disks of VMs; `images_path` of the settings is the worker's folder for them."""

    def __init__(self, hypervisor: HypervisorSettings) -> None:
        self._images = hypervisor.images_path

    def create_backing_image(self, tenant: Slice, vm: VM) -> tuple[Step, ...]:
        """The steps that leave `vm` with its overlay: base image cached on the worker, overlay made.

        The cached base image is shared by all slices and stays when a slice is deleted.
        """
        base = () if vm.image is None else (self._cache_base(tenant, vm, vm.image),)
        return (*base, self.overlay(tenant, vm))

    def overlay(self, tenant: Slice, vm: VM) -> Step:
        """The overlay alone. A VM of an older file may have no base image recorded: it can be removed, and not made."""
        if vm.image is None:
            return replace(self._make_overlay(tenant, vm, ""), do=())
        return self._make_overlay(tenant, vm, PurePosixPath(vm.image).name)

    def require_free(self, tenant: Slice, vm: VM) -> Step:
        """Read-only: nothing is there under the name of a new VM, and no folder before the first one's on a worker."""
        files = self._files(tenant, vm)
        known = any(other.worker_ip == vm.worker_ip and other is not vm for other in tenant.vms)
        place = files.overlay if known else files.folder
        check = Command(("sh", "-c", _IS_FREE, "sh", place), as_user=True)
        return Step(vm.worker_ip, f"place for the disk of {vm.name}", (check,))

    def preflight(self, tenant: Slice, worker: str) -> tuple[Step, ...]:
        """Read-only: neither base images nor overlays that are there already were changed behind our back."""
        disks: dict[str, list[str]] = {}
        for vm in tenant.vms:
            if vm.worker_ip == worker and vm.image is not None:
                disks.setdefault(PurePosixPath(vm.image).name, []).append(self._files(tenant, vm).overlay)
        return tuple(
            Step(
                worker,
                f"disks on {name}",
                (Command(("sh", "-c", _ARE_GOOD, "sh", *self._base(name), *overlays), as_user=True),),
            )
            for name, overlays in disks.items()
        )

    def _base(self, name: str) -> tuple[str, str]:
        """A base image on a worker, and its seal: size and time of change, as they were when it was first used."""
        return f"{self._images}/{name}", f"{self._images}/.{name}.seal"

    def image_path(self, tenant: Slice, vm: VM) -> str:
        """The overlay as `database.yaml` names it, e.g. `~/vm_images/slice-1000/vm1_img.qcow2`."""
        overlay = self._files(tenant, vm).overlay
        return overlay if overlay.startswith("/") else f"~/{overlay}"

    def _cache_base(self, tenant: Slice, vm: VM, image: str) -> Step:
        name = PurePosixPath(image).name
        (target, seal), part = self._base(name), f"{self._images}/{upload_part(name, tenant.slice_id)}"
        is_there = ("test", "-s", target)
        whole = ("sh", "-c", _IS_WHOLE, "sh", part, f"{image} on the manager", "replace it")
        advice = "remove it there, and a good one is brought"
        return Step(
            vm.worker_ip,
            f"base image {name}",
            do=(
                Command(("mkdir", "-p", self._images), unless=("test", "-d", self._images), as_user=True),
                Command(("rm", "-f", seal), unless=is_there, as_user=True),
                Upload(image, target, part, unless=is_there, check=whole),
                Command(
                    ("sh", "-c", _SEAL, "sh", target, target, advice, seal),
                    unless=("sh", "-c", _IS_SEALED, "sh", target, seal),
                    as_user=True,
                ),
            ),
            undo=(Command(("rm", "-f", part), as_user=True),),
        )

    def _make_overlay(self, tenant: Slice, vm: VM, base: str) -> Step:
        files = self._files(tenant, vm)
        make = ("sh", "-c", _MAKE_OVERLAY, "sh", f"../{base}", files.overlay, str(vm.disk_mib))
        return Step(
            vm.worker_ip,
            f"overlay of {vm.name}",
            do=(
                Command(("mkdir", "-p", "-m", "700", files.folder), unless=("test", "-d", files.folder), as_user=True),
                Command(make, unless=("test", "-e", files.overlay), as_user=True),
            ),
            undo=(
                Command(("rm", "-f", files.overlay, f"{files.overlay}.part"), as_user=True),
                Command(
                    ("rmdir", "--ignore-fail-on-non-empty", files.folder),
                    unless=("test", "!", "-e", files.folder),
                    as_user=True,
                ),
            ),
        )

    def _files(self, tenant: Slice, vm: VM) -> VMFiles:
        return VMFiles(self._images, tenant.slice_id, vm.name)

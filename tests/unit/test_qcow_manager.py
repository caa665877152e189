"""The owners of disks: the steps that create and remove disks, run by this machine's shell in a folder."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Refused
from core.flavors import Devices
from core.inventory import HypervisorSettings
from models import Slice
from qcow_manager import QCOWManager
from remote.images import require_fitting, virtual_size
from remote.plan import Command, Step, Upload
from tests.support.designs import design

WHOLE = 'for last; do overlay=$size size=$last; done; echo made >"$overlay"'
HALF = f"{WHOLE}; exit 1"


class ImageWorker:
    """A folder in place of a worker's home, with a `qemu-img` of ours; all VMs of one slice are on it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.disks = QCOWManager(HypervisorSettings())
        self.images = home / "vm_images"
        self.folder = self.images / "slice-1000"
        self.images.mkdir()
        (self.images / "cirros.img").write_bytes(bytes(32))
        self.has_qemu_img(WHOLE)

    def has_qemu_img(self, script: str) -> None:
        program = self.home / "qemu-img"
        program.write_text(f"#!/bin/sh\n[ $1 = create ] || {{ echo look >>looks; exit 0; }}\n{script}\n")
        program.chmod(0o700)

    def does(self, *steps: Step) -> str:
        """Run the steps and return the failure."""
        return self._run(command for step in steps for command in step.do if isinstance(command, Command))

    def undoes(self, *steps: Step) -> str:
        return self._run(command for step in reversed(steps) for command in step.undo)

    def _run(self, commands: Iterable[Command]) -> str:
        wrong = ""
        for command in commands:
            if not command.unless or self._call(command.unless).returncode:
                done = self._call(command.argv)
                wrong += done.stderr if done.returncode else ""
        return wrong

    def _call(self, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        path = f"{self.home}:{os.environ['PATH']}"
        environment = {"PATH": path, "LC_ALL": "C"}
        return subprocess.run(argv, cwd=self.home, capture_output=True, text=True, check=False, env=environment)

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.folder.iterdir()} if self.folder.exists() else {}

    def has(self, **files: str) -> None:
        """Create another slice's files, `disk` and `mark` of vm1 among them."""
        self.folder.mkdir(mode=0o700)
        names = {"disk": "vm1_img.qcow2", "mark": "vm1.id-00000000000000ff", "part": "vm1_img.qcow2.part"}
        for name, text in files.items():
            (self.folder / names[name]).write_text(text)


@pytest.fixture
def worker(tmp_path: Path) -> ImageWorker:
    return ImageWorker(tmp_path)


@pytest.fixture
def slice_() -> Slice:
    """Return two VMs on one worker."""
    slice_ = design("unconnected")
    for vm in slice_.vms:
        vm.worker_ip = slice_.vms[0].worker_ip
    return slice_


MARK = "vm1.id-0000000000000001"
OWN = {"vm1_img.qcow2": "made\n", MARK: ""}


def test_a_disk_is_made_once_and_has_its_mark(worker: ImageWorker, slice_: Slice) -> None:
    steps = worker.disks.disk(slice_, slice_.vms[0])
    assert worker.does(*steps) == ""
    assert worker.files() == OWN
    (worker.folder / "vm1_img.qcow2").write_text("what the guest wrote")
    assert worker.does(*steps) == ""
    assert worker.files() == OWN | {"vm1_img.qcow2": "what the guest wrote"}
    assert worker.undoes(*steps) == worker.undoes(*steps) == ""
    assert not worker.folder.exists()


@pytest.mark.parametrize("marked", [False, True])
def test_anothers_disk_is_neither_taken_nor_removed(worker: ImageWorker, slice_: Slice, marked: bool) -> None:
    worker.has(disk="theirs", **({"mark": ""} if marked else {}))
    before, steps = worker.files(), worker.disks.disk(slice_, slice_.vms[0])
    assert "vm1_img.qcow2 is there already, of a slice that database.yaml does not know" in worker.does(*steps)
    assert worker.undoes(*steps) == ""
    assert worker.files() == before


def test_a_mark_without_a_disk_says_nothing(worker: ImageWorker, slice_: Slice) -> None:
    worker.has(mark="")
    steps = worker.disks.disk(slice_, slice_.vms[0])
    assert worker.undoes(*steps) == ""
    assert worker.files() == {"vm1.id-00000000000000ff": ""}
    assert worker.does(*steps) == ""
    assert worker.files() == OWN


def test_a_disk_that_is_half_made_has_its_mark_and_goes(worker: ImageWorker, slice_: Slice) -> None:
    steps = worker.disks.disk(slice_, slice_.vms[0])
    worker.has_qemu_img(HALF)
    worker.does(*steps)
    assert worker.files() == {"vm1_img.qcow2.part": "made\n", MARK: ""}
    worker.has_qemu_img(WHOLE)
    worker.does(*steps)
    assert worker.files() == OWN
    (worker.folder / "vm1_img.qcow2").rename(worker.folder / "vm1_img.qcow2.part")
    assert worker.undoes(*steps) == ""
    assert not worker.folder.exists()


def test_a_file_that_cannot_be_removed_keeps_its_mark(worker: ImageWorker, slice_: Slice) -> None:
    steps, disk = worker.disks.disk(slice_, slice_.vms[0]), worker.folder / "vm1_img.qcow2"
    worker.does(*steps)
    disk.unlink()
    disk.mkdir()  # rm(1) fails
    assert "Is a directory" in worker.undoes(*steps)
    assert (worker.folder / MARK).exists()
    disk.rmdir()
    assert worker.undoes(*steps) == ""
    assert not worker.folder.exists()


@pytest.mark.parametrize("marked", [False, True])
def test_a_vm_of_an_older_file_has_the_disk_of_its_name(worker: ImageWorker, slice_: Slice, marked: bool) -> None:
    slice_.vms[0].disk_id = None
    steps = worker.disks.disk(slice_, slice_.vms[0])
    worker.has(part="half", **({"mark": ""} if marked else {}))
    assert worker.does(*steps) == worker.does(*steps) == ""
    assert worker.files().pop("vm1_img.qcow2") == "made\n"
    assert worker.files().keys() <= {"vm1_img.qcow2", "vm1_img.qcow2.part"}
    assert worker.undoes(*steps) == ""
    assert not worker.folder.exists()


@pytest.fixture
def larger(slice_: Slice) -> Slice:
    """Return the slice with a second disk of its first VM."""
    flavor = slice_.vms[0].flavor
    assert flavor
    slice_.vms[0].flavor = replace(flavor, devices=Devices(disk2_gb=0.5))
    return slice_


def test_further_disks_are_made_once_and_go_before_the_mark(worker: ImageWorker, larger: Slice) -> None:
    worker.has_qemu_img(HALF)
    steps, second = worker.disks.disk(larger, larger.vms[0]), worker.folder / "vm1.disk2"
    worker.does(*steps)
    assert worker.files() == {"vm1_img.qcow2.part": "made\n", "vm1.disk2.part": "made\n", MARK: ""}
    worker.has_qemu_img(WHOLE)
    assert worker.does(*steps) == worker.does(*steps) == ""
    assert worker.files() == OWN | {"vm1.disk2": "made\n"}
    second.unlink()
    second.mkdir()  # rm(1) fails
    assert "Is a directory" in worker.undoes(*steps)
    assert (worker.folder / MARK).exists()
    second.rmdir()
    assert worker.undoes(*steps) == ""
    assert not worker.folder.exists()


def test_anothers_second_disk_is_neither_taken_nor_removed(worker: ImageWorker, larger: Slice) -> None:
    worker.folder.mkdir(mode=0o700)
    (worker.folder / "vm1.disk2").write_text("theirs")
    (look,) = worker.disks.preflight(larger, new=False)
    assert "the disk vm_images/slice-1000/vm1.disk2 is another VM's" in worker.does(look)
    (look,) = worker.disks.check_free_disks(larger, larger.vms)
    assert "vm_images/slice-1000 is there already" in worker.does(look)
    assert worker.undoes(*worker.disks.disk(larger, larger.vms[0])) == ""
    assert worker.files() == {"vm1.disk2": "theirs"}


# --- the looks --------------------------------------------------------------------------------------------------------

MINE, OTHERS = (lambda worker: (worker.folder / MARK).touch()), (lambda worker: worker.has(mark="", disk="theirs"))


@pytest.mark.parametrize(
    ("there", "known", "taken"),
    [
        ([], False, ""),
        ([OTHERS], False, "slice-1000"),
        ([OTHERS], True, "slice-1000/vm1_img.qcow2"),
        ([lambda worker: worker.folder.mkdir()], False, "slice-1000"),
        ([lambda worker: worker.folder.mkdir()], True, ""),
        ([OTHERS, MINE], False, ""),
        ([OTHERS, MINE, lambda worker: (worker.folder / "vm2_img.qcow2").touch()], False, "slice-1000/vm2_img.qcow2"),
    ],
)
def test_a_place_is_free_where_nothing_but_ones_own_is_there(
    worker: ImageWorker, slice_: Slice, there: list[Callable[[ImageWorker], None]], known: bool, taken: str
) -> None:
    """Give the slice another known disk there with `known`."""
    for act in there:
        act(worker)
    if known:
        (older,) = design("single").vms
        older.vm_id = 1099
        slice_.vms.append(older)
    (look,) = worker.disks.check_free_disks(slice_, slice_.vms[:2])
    what_to_do = "(was an older version put back?); create another slice and delete this one, "
    what_to_do += "then an operator removes it with: python3 cli.py doctor --fix"
    reported = f"vm_images/{taken} is there already, of a slice that database.yaml does not know {what_to_do}\n"
    assert worker.does(look) == (reported if taken else "")
    assert not look.undo


def test_a_folder_shared_by_two_workers_is_reported(worker: ImageWorker, slice_: Slice) -> None:
    """Put the first disk on another worker, and its mark here."""
    first, second = slice_.vms[:2]
    first.worker_ip = "10.0.10.9"
    (look,) = worker.disks.check_free_disks(slice_, [second])
    assert worker.does(look) == ""
    worker.folder.mkdir(exist_ok=True)
    (worker.folder / f"{first.name}.id-{first.disk_id}").touch()
    assert worker.does(look) == (
        "vm_images there is the folder that 10.0.10.9 has, too; give each worker its own (hypervisor: images_dir)\n"
    )


def test_disks_of_an_older_file_are_not_checked(worker: ImageWorker, slice_: Slice) -> None:
    """Keep the disks of a dead manager, which do not name their owner."""
    slice_.vms[0].disk_id = None
    worker.has(disk="mine")
    (look,) = worker.disks.check_free_disks(slice_, slice_.vms)
    assert worker.does(look) == ""
    slice_.vms[1].disk_id = None
    assert worker.disks.check_free_disks(slice_, slice_.vms) == ()


def test_a_deployment_advises_about_a_disk_of_another_slice(worker: ImageWorker, slice_: Slice) -> None:
    (look,) = worker.disks.preflight(slice_, new=False)
    assert worker.does(look) == ""
    worker.has(disk="theirs", mark="")
    said = worker.does(look)
    assert said.startswith("the disk vm_images/slice-1000/vm1_img.qcow2 is another VM's (was an older database.yaml")
    assert said.endswith(f"have the operator look (if it is this VM's: touch vm_images/slice-1000/{MARK})\n")
    (worker.folder / MARK).touch()
    assert worker.does(look) == ""
    worker.has_qemu_img("")
    (worker.home / "qemu-img").write_text("#!/bin/sh\nexit 1\n")
    assert "vm1_img.qcow2 is damaged; bring it back from a copy" in worker.does(look)


def test_an_image_that_was_checked_on_arrival_is_not_checked_again(tmp_path: Path) -> None:
    """Put another image there meanwhile: its size differs, so it is refused."""
    worker, slice_ = ImageWorker(tmp_path), design("single")
    base, *_ = worker.disks.create_backing_image(slice_, slice_.vms[0])
    (upload,) = (action for action in base.do if isinstance(action, Upload))
    image, part, fingerprint = (tmp_path / name for name in (upload.target, upload.part, "vm_images/.cirros.img.seal"))
    looks = tmp_path / "looks"

    def arrive() -> int:
        part.write_bytes(bytes(32))
        assert worker._call(upload.check).returncode == 0
        part.replace(image)
        looks.unlink()
        return image.stat().st_size

    image.unlink()
    size = arrive()
    assert (worker.does(base), looks.exists()) == ("", False)
    assert fingerprint.read_text().split()[0] == str(size)
    assert sorted(path.name for path in worker.images.iterdir()) == [".cirros.img.seal", "cirros.img"]
    fingerprint.unlink()
    arrive()
    image.write_bytes(bytes(64))
    assert (worker.does(base), looks.exists()) == ("", True)
    assert fingerprint.read_text().split()[0] == "64"
    arrive()
    worker.undoes(base)
    assert sorted(path.name for path in worker.images.iterdir()) == [".cirros.img.seal", "cirros.img"]


def test_an_empty_image_that_a_power_cut_left_keeps_no_slice_from_being_deployed(tmp_path: Path) -> None:
    """Copy it again like a missing one; its fingerprint may have reached the disk earlier."""
    worker, slice_ = ImageWorker(tmp_path), design("single")
    (worker.images / ".cirros.img.seal").write_text("32 1\n")
    look = worker.disks.preflight(slice_, new=False)
    assert "is not the image that disks of VMs were built on" in worker.does(*look)
    (worker.images / "cirros.img").write_bytes(b"")
    assert worker.does(*look) == ""


def header(size: int) -> bytes:
    return b"QFI\xfb" + bytes(20) + size.to_bytes(8, "big")


@pytest.mark.parametrize("size", [(1 << 30) + 1, 500 << 40, 1 << 63, (1 << 64) - 1])
def test_a_base_image_larger_than_the_flavors_disk_is_refused(worker: ImageWorker, slice_: Slice, size: int) -> None:
    (worker.images / "cirros.img").write_bytes(header(size))
    said = worker.does(*worker.disks.disk(slice_, slice_.vms[0]))
    assert re.match(r"the base image cirros.img is a disk of -?\d+ MiB, and the flavor has 1024 MiB: ", said)
    assert not worker.files()


@pytest.mark.parametrize(
    ("size", "disk_gb", "made"), [(1 << 30, 1, 1 << 30), (2361393152 + 512, 2.2, 2361393152 + 512)]
)
def test_an_image_as_large_as_the_disk_is_none_that_is_larger(
    worker: ImageWorker, slice_: Slice, size: int, disk_gb: float, made: int
) -> None:
    """Use a disk of 2.2 GiB, which is 2252 MiB and a part; the overlay is never smaller than its image."""
    (worker.images / "cirros.img").write_bytes(header(size))
    worker.has_qemu_img(f"{WHOLE}; echo $size >size")
    vm = slice_.vms[0]
    assert vm.flavor
    vm.flavor = replace(vm.flavor, disk_gb=disk_gb)
    assert worker.does(*worker.disks.disk(slice_, vm)) == ""
    assert int((worker.home / "size").read_text()) == made


def test_an_image_whose_name_no_file_can_have_was_never_there(worker: ImageWorker, slice_: Slice) -> None:
    vm = slice_.vms[0]
    assert vm.flavor
    vm.flavor = replace(vm.flavor, image=f"/srv/{'i' * 246}")
    steps = worker.disks.create_backing_image(slice_, vm)
    assert "cannot be" in worker.does(*steps) or not worker.files()
    assert worker.undoes(*steps) == ""
    assert not worker.folder.exists()


def test_an_image_name_with_a_backslash_is_shown_as_it_is(worker: ImageWorker, slice_: Slice) -> None:
    vm = slice_.vms[0]
    assert vm.flavor
    vm.flavor = replace(vm.flavor, image="/srv/a\\cb.img")
    (worker.images / "a\\cb.img").write_bytes(header(500 << 40))
    assert "the base image a\\cb.img is a disk of" in worker.does(*worker.disks.disk(slice_, vm))


def test_the_size_of_an_image_is_read_on_the_manager(tmp_path: Path) -> None:
    large, other = tmp_path / "large.img", tmp_path / "raw.img"
    large.write_bytes(header(500 << 40))
    other.write_bytes(b"raw" * 100)
    os.mkfifo(tmp_path / "fifo.img")
    assert virtual_size(str(large)) == 500 << 40
    for unknown in (other, tmp_path, tmp_path / "fifo.img", tmp_path / "nowhere.img"):
        assert virtual_size(str(unknown)) is None
        require_fitting(str(unknown), "small", 0.5)
    with pytest.raises(Refused) as caught:
        require_fitting(str(large), "small", 0.5)
    assert str(caught.value) == (
        f"The image {large} is a disk of 524288000 MiB, and flavor small has 512 MiB: "
        "have the operator raise its disk_gb, or shrink the image"
    )


def test_an_image_that_was_replaced_on_purpose_is_used_after_the_advised_command(tmp_path: Path) -> None:
    """Remove the fingerprint once no disk needs the old image: deploying works again."""
    worker, slice_ = ImageWorker(tmp_path), design("single")
    base, *disk = worker.disks.create_backing_image(slice_, slice_.vms[0])
    assert worker.does(base, *disk) == ""
    worker.undoes(*disk)
    (worker.images / "cirros.img").write_bytes(bytes(64))
    said = worker.does(base)
    assert "is not the image that disks of VMs were built on" in said
    fingerprint = said.strip().rpartition("or no disk is left on it: rm ")[2].removesuffix(")")
    (worker.home / fingerprint).unlink()
    assert worker.does(base, *disk) == ""

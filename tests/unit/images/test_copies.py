"""Base images on workers: listed and removed by the real scripts, in a folder of this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadAnswer
from core.names import STAGED, is_image_name, is_staged_part, slice_of_upload, slice_part, upload_part
from images.copies import Copies, sizes
from remote.plan import Command, Step, Upload

needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs the package qemu-utils")


def run(step: Step) -> subprocess.CompletedProcess[str]:
    """Run a step of one command, unless its guard succeeds."""
    (command,) = step.do
    assert isinstance(command, Command)
    assert command.as_user
    guarded = command.unless and subprocess.run(command.unless, check=False).returncode == 0
    argv = ("true",) if guarded else command.argv
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def overlay(disk: Path, base: str) -> None:
    disk.parent.mkdir(exist_ok=True)
    command = ("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", base, "-F", "qcow2", disk, "1M")
    subprocess.run(command, check=True)


def test_base_images_are_listed_with_their_sizes(tmp_path: Path) -> None:
    for name, size in (("a b.img", 3), ("debian.qcow2", 5), (".debian.qcow2.seal", 7), ("new\nline", 9)):
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "slice-1000").mkdir()
    (tmp_path / "link").symlink_to("debian.qcow2")
    assert sizes(run(Copies(str(tmp_path)).find("10.0.10.1")).stdout) == {"a b.img": 3, "debian.qcow2": 5}


def test_a_worker_without_the_folder_has_no_image(tmp_path: Path) -> None:
    done = run(Copies(str(tmp_path / "none")).find("10.0.10.1"))
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("answer", ["5", "x debian", "-1 debian", "5 a/b", "5 a\n5 a", f"{10**18} a"])
def test_an_answer_that_lists_no_images_is_refused(answer: str) -> None:
    with pytest.raises(BadAnswer):
        sizes(answer)


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1), st.integers(0, 1 << 50)
    )
)
def test_what_a_worker_lists_is_read_as_it_is(found: dict[str, int]) -> None:
    found = {name: size for name, size in found.items() if "/" not in name}
    listed = "".join(f"{size} {name}\n" for name, size in found.items())
    assert sizes(listed) == {name: size for name, size in found.items() if is_image_name(name)}


@needs_qemu_img
@pytest.mark.parametrize("name", ["debian.qcow2", "a b.img"])
def test_an_image_without_disks_is_removed_with_its_fingerprint(tmp_path: Path, name: str) -> None:
    copies = Copies(str(tmp_path))
    for path in copies.paths(name):
        Path(path).write_text("x")
    overlay(tmp_path / "slice-1000" / "r1_img.qcow2", "../other.qcow2")
    step = copies.remove("10.0.10.1", name)
    assert run(step).returncode == 0
    assert [each.name for each in tmp_path.iterdir()] == ["slice-1000"]
    assert run(step).returncode == 0


@needs_qemu_img
@pytest.mark.parametrize("disk", ["r1_img.qcow2", "r1_img.qcow2.part"])
def test_an_image_under_a_disk_that_the_database_does_not_know_stays(tmp_path: Path, disk: str) -> None:
    (tmp_path / "debian.qcow2").write_text("x")
    overlay(tmp_path / "slice-1000" / disk, "../debian.qcow2")
    done = run(Copies(str(tmp_path)).remove("10.0.10.1", "debian.qcow2"))
    assert done.returncode == 1
    assert f"{disk} is built on debian.qcow2, and database.yaml does not know it" in done.stderr
    assert (tmp_path / "debian.qcow2").exists()


def test_an_unfinished_copy_says_for_whom_it_is_made() -> None:
    of_slice, staged = upload_part("a.img", slice_part(1000)), upload_part("a.img", STAGED)
    assert (slice_of_upload(of_slice), is_staged_part(of_slice)) == (1000, False)
    assert (slice_of_upload(staged), is_staged_part(staged)) == (None, True)
    assert not is_image_name(staged)
    step = Copies("vm_images").cache("10.0.10.1", "/srv/a.img", STAGED)
    (upload,) = (action for action in step.do if isinstance(action, Upload))
    assert (upload.source, upload.target, upload.part) == ("/srv/a.img", "vm_images/a.img", f"vm_images/{staged}")

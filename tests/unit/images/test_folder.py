"""Base images are made with the real qemu-img; hostile files leave the folder as it was."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import importlib
import json
import lzma
import os
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Refused
from core.inventory import ImageSettings
from images.folder import Folder, usual_name
from images.formats import Format

MIB = 1 << 20
BOOT = bytes(510) + b"\x55\xaa"
RAW = BOOT + b"guest" * 1000 + bytes(MIB - 5512)

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs the package qemu-utils")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(ImageSettings(str(tmp_path / "images"), 0.05))


def qcow2(path: Path, *options: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "1M"], check=True)
    return path


def raw(path: Path, content: bytes = RAW) -> Path:
    path.write_bytes(content)
    return path


def info(path: Path) -> dict[str, object]:
    command = ("qemu-img", "info", "-f", "qcow2", "--output=json", str(path))
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def guest_bytes(path: Path) -> bytes:
    """Return what a guest reads from its disk."""
    target = path.with_suffix(".read")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, target], check=True)
    return target.read_bytes()


def left_in(folder: Folder) -> list[str]:
    return sorted(each.name for each in folder.path.iterdir()) if folder.path.exists() else []


def test_a_qcow2_file_is_taken_as_it_is(folder: Folder, tmp_path: Path) -> None:
    source = qcow2(tmp_path / "debian.qcow2")
    made = folder.add(source, "debian.qcow2")
    assert made.path.read_bytes() == source.read_bytes()
    assert made.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (made.made_of, made.size, made.virtual_size) == (Format.QCOW2, source.stat().st_size, MIB)
    assert left_in(folder) == folder.names == ["debian.qcow2"]
    assert made.path.stat().st_mode & 0o777 == 0o644
    assert made.path.stat().st_nlink == 1


def test_a_raw_file_becomes_qcow2_with_the_same_content(folder: Folder, tmp_path: Path) -> None:
    made = folder.add(raw(tmp_path / "chr.img"), "chr.qcow2")
    assert info(made.path)["virtual-size"] == made.virtual_size == MIB
    assert guest_bytes(made.path) == RAW
    assert left_in(folder) == ["chr.qcow2", "chr.read"]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gz", "xz"])
def test_packed_files_are_unpacked(folder: Folder, tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    inside = qcow2(tmp_path / "inside.qcow2").read_bytes()
    ending = ".gz" if pack is gzip.compress else ".xz"
    packed, packed_raw = tmp_path / f"a.qcow2{ending}", tmp_path / f"b.raw{ending}"
    packed.write_bytes(pack(inside))
    packed_raw.write_bytes(pack(RAW))
    assert folder.add(packed, usual_name(packed)).path.read_bytes() == inside
    assert guest_bytes(folder.add(packed_raw, usual_name(packed_raw)).path) == RAW
    assert {"a.qcow2", "b.qcow2"} <= {*folder.names}


def test_only_a_check_leaves_nothing(folder: Folder, tmp_path: Path) -> None:
    assert folder.add(raw(tmp_path / "a.img"), "a.qcow2", only_check=True).virtual_size == MIB
    assert left_in(folder) == []


# --- files that are refused -------------------------------------------------------------------------------------------


def with_backing_file(path: Path) -> Path:
    qcow2(path)
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", path], check=True)
    return path


def with_data_file(path: Path) -> Path:
    return qcow2(path, "-o", f"data_file={path}.data,data_file_raw=on")


def cut_off(path: Path) -> Path:
    qcow2(path, "-o", "preallocation=full")
    os.truncate(path, 200_000)
    return path


def with_wild_table(path: Path) -> Path:
    """Point an entry of the table of clusters beyond the end of the file."""
    content = bytearray(qcow2(path).read_bytes())
    (table,) = struct.unpack_from(">Q", content, 40)
    struct.pack_into(">Q", content, table, (1 << 63) | (1 << 40))
    path.write_bytes(content)
    return path


def with_huge_disk(path: Path) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(1 << 50)], check=True)
    return path


def without_disk(path: Path) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "0"], check=True)
    return path


def with_many_rows(path: Path) -> Path:
    """Claim a table of clusters as large as the header allows."""
    content = bytearray(qcow2(path).read_bytes())
    struct.pack_into(">I", content, 36, (1 << 32) - 1)
    path.write_bytes(content)
    return path


def encrypted(path: Path) -> Path:
    content = bytearray(qcow2(path).read_bytes())
    struct.pack_into(">I", content, 32, 1)
    path.write_bytes(content)
    return path


def guest_wrote_a_header(path: Path) -> Path:
    """Write the header of a qcow2 file with a backing file onto the first sectors of a raw disk."""
    header = with_backing_file(path.with_name("trap")).read_bytes()
    return raw(path, header + RAW)


HOSTILE = {
    "backing file": (with_backing_file, "a.qcow2", "names another file as a part of it"),
    "data file": (with_data_file, "a.qcow2", "names another file as a part of it"),
    "a guest's header in a raw file": (guest_wrote_a_header, "a.raw", "is named .raw, and its bytes are"),
    "the same without a clear name": (guest_wrote_a_header, "a.img", "names another file as a part of it"),
    "cut off": (cut_off, "a.qcow2", "a.qcow2: qemu-img failed"),
    "wild table": (with_wild_table, "a.qcow2", "a.qcow2: qemu-img failed"),
    "wild header": (with_many_rows, "a.qcow2", "a.qcow2: qemu-img failed"),
    "encrypted": (encrypted, "a.qcow2", "is encrypted"),
    "huge disk": (with_huge_disk, "a.qcow2", "is a disk of 1125899906842624 bytes"),
    "empty disk": (without_disk, "a.qcow2", "is a disk of 0 bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_image_is_refused_and_leaves_nothing(case: str, folder: Folder, tmp_path: Path) -> None:
    make, name, words = HOSTILE[case]
    with pytest.raises(Refused, match=words):
        folder.add(make(tmp_path / name), "a.qcow2")
    assert left_in(folder) == []


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "memory"])
def test_only_a_file_is_opened(kind: str, folder: Folder, tmp_path: Path) -> None:
    special = {"device": Path("/dev/zero"), "memory": Path("/proc/self/mem")}
    source = special.get(kind, tmp_path / "source")
    if kind == "folder":
        source.mkdir()
    elif kind == "pipe":
        os.mkfifo(source)
    with pytest.raises(Refused, match=r"cannot be read|is not a file|cannot be copied"):
        folder.add(source, "a.qcow2")
    assert left_in(folder) == []


def test_a_bomb_is_refused(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(BOOT + bytes(100 * MIB)))
    with pytest.raises(Refused, match=r"has more than 0.05 GiB; images: largest_gb is the bound"):
        folder.add(tmp_path / "a.raw.gz", "a.qcow2")
    assert left_in(folder) == []


def test_a_file_that_is_packed_twice_is_refused(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a.img.gz.gz").write_bytes(gzip.compress(gzip.compress(RAW)))
    with pytest.raises(Refused, match="is packed twice"):
        folder.add(tmp_path / "a.img.gz.gz", "a.qcow2")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(4, 112), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_header_with_wild_bytes_becomes_no_image_that_names_a_file(
    folder: Folder, tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    source, target = tmp_path / "wild.qcow2", folder.file("wild.qcow2")
    content = bytearray(qcow2(source).read_bytes())
    for place, value in changes:
        content[place] = value
    source.write_bytes(content)
    target.unlink(missing_ok=True)
    try:
        folder.add(source, target.name)
    except Refused:
        assert not target.exists()
    else:
        assert not {"backing-filename", "encrypted"} & {*info(target)}
    assert not [name for name in left_in(folder) if name.startswith(".")]


# --- names and the folder ---------------------------------------------------------------------------------------------


def test_an_image_that_is_there_is_never_replaced(folder: Folder, tmp_path: Path) -> None:
    source = qcow2(tmp_path / "a.qcow2")
    first = folder.add(source, "a.qcow2").path
    kept = first.stat()
    with pytest.raises(Refused, match=r"is there already, .*; give this image another name \(--name\), or remove"):
        folder.add(source, "a.qcow2")
    assert first.stat() == kept


def test_a_name_that_is_taken_meanwhile_is_not_replaced(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(_path: Path, _label: str) -> None:
        folder.file("a.qcow2").write_text("another one's")

    monkeypatch.setattr("images.qemu_img.require_whole", taken)
    with pytest.raises(Refused, match="is there already"):
        folder.add(qcow2(tmp_path / "a.qcow2"), "a.qcow2")
    assert folder.file("a.qcow2").read_text() == "another one's"
    assert left_in(folder) == ["a.qcow2"]


@pytest.mark.parametrize("name", ["", ".hidden", "-rf", "a/b", "../a", "slice-1000", "a b", "ñ", "x" * 101, ".x.seal"])
def test_a_name_that_could_be_anything_else_is_refused(name: str, folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        folder.add(qcow2(tmp_path / "source.qcow2"), name)
    assert left_in(folder) == []


def test_a_folder_of_other_users_is_refused(folder: Folder, tmp_path: Path) -> None:
    folder.path.mkdir()
    folder.path.chmod(0o777)
    with pytest.raises(Refused, match="can be changed by other users of this machine"):
        folder.add(qcow2(tmp_path / "a.qcow2"), "a.qcow2")
    assert left_in(folder) == []


def test_what_a_dead_process_left_is_removed_and_nothing_of_a_living_one(folder: Folder, tmp_path: Path) -> None:
    dead, living = (folder.path / f".adding-{name}" for name in ("dead", "living"))
    for place in (dead, living):
        place.mkdir(parents=True)
        (place / "copy").write_bytes(RAW)
    lock = os.open(living, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder.add(qcow2(tmp_path / "a.qcow2"), "a.qcow2")
    os.close(lock)
    assert left_in(folder) == [".adding-living", "a.qcow2"]


def test_a_full_disk_leaves_nothing(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("images.unpacking.copy", full)
    with pytest.raises(Refused, match=f"cannot be copied to {folder.path}: No space left on device"):
        folder.add(qcow2(tmp_path / "a.qcow2"), "a.qcow2")
    assert left_in(folder) == []


def test_without_qemu_img_the_package_is_named(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = qcow2(tmp_path / "a.qcow2")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="qemu-img is not installed on this machine; run apt-get install qemu-utils"):
        folder.add(source, "a.qcow2")
    assert left_in(folder) == []


def test_an_image_is_removed_by_its_name(folder: Folder, tmp_path: Path) -> None:
    folder.add(qcow2(tmp_path / "a.qcow2"), "a.qcow2")
    folder.remove("a.qcow2")
    folder.remove("a.qcow2")
    assert folder.names == []


# --- deaths -----------------------------------------------------------------------------------------------------------


STEPS = {
    "before the copy": ("images.unpacking.copy", False),
    "after the copy": ("images.unpacking.copy", True),
    "after the conversion": ("images.qemu_img.convert_raw", True),
    "after the check": ("images.qemu_img.require_whole", True),
    "before the name": ("pathlib.Path.hardlink_to", False),
    "after the name": ("pathlib.Path.hardlink_to", True),
}
"""The step at which a process dies, and whether it has done it."""


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_dies_leaves_a_whole_image_or_none(step: str, folder: Folder, tmp_path: Path) -> None:
    source = raw(tmp_path / "chr.img")
    where, is_done = STEPS[step]
    child = os.fork()
    if child == 0:
        try:
            _die_at(where, is_done=is_done)
            folder.add(source, "chr.qcow2")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    assert folder.names == (["chr.qcow2"] if step == "after the name" else [])
    if folder.names:
        with pytest.raises(Refused, match="is there already"):
            folder.add(source, "chr.qcow2")
        folder.add(source, "other.qcow2").path.unlink()
    else:
        folder.add(source, "chr.qcow2")
    assert left_in(folder) == ["chr.qcow2"]
    assert guest_bytes(folder.file("chr.qcow2")) == RAW


def _die_at(where: str, *, is_done: bool) -> None:
    """Let this process be killed at its next call of a function."""
    place, _, name = where.rpartition(".")
    owner = Path if place == "pathlib.Path" else importlib.import_module(place)
    function = getattr(owner, name)

    def dies(*args: object) -> None:
        if is_done:
            function(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dies)

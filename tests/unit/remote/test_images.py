"""Files that are no base image are found on the manager, before they are copied."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from core.errors import Refused
from core.inventory import SSHSettings
from remote.images import HEADER_BYTES, fault_of
from remote.openssh import Copy
from remote.plan import Upload

QEMU_IMG = shutil.which("qemu-img")


def header(version: int = 3, backing_file: int = 0, features: int = 0, encryption: int = 0) -> bytes:
    sizes = (bytes(16), encryption.to_bytes(4), bytes(36))
    fields = (b"QFI\xfb", version.to_bytes(4), backing_file.to_bytes(8), *sizes, features.to_bytes(8))
    return b"".join(fields)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a qcow2 file"),
        (b"QFI\xfb", "is not a qcow2 file"),
        (b"KDMV" + bytes(512), "is not a qcow2 file"),
        (bytes(512), "is not a qcow2 file"),
        (header(backing_file=104), "names another file as a part of it"),
        (header(version=2, backing_file=72), "names another file as a part of it"),
        (header(features=0b100), "names another file as a part of it"),
        (header(encryption=2), "is encrypted, and no worker has its key; take one that is not"),
    ],
    ids=["empty", "cut", "vmdk", "raw", "backing file", "backing file of version 2", "data file", "encrypted"],
)
def test_a_file_that_is_no_base_image_is_refused_with_a_way_out(content: bytes, words: str) -> None:
    fault = fault_of("/srv/a.img", content[:HEADER_BYTES])
    assert words in fault
    assert fault.endswith(
        {
            "is not a qcow2 file": ": python3 cli.py image add /srv/a.img",
            "names another file as a part of it": ": qemu-img convert -f qcow2 -O qcow2 /srv/a.img IMAGE.qcow2",
        }.get(words, words)
    )


@pytest.mark.parametrize("content", [header(), header(features=0b1), header(version=2, features=0b100)])
def test_a_possible_base_image_is_sent(content: bytes) -> None:
    assert fault_of("/srv/a.img", content) == ""


@pytest.mark.skipif(QEMU_IMG is None, reason="needs the package qemu-utils")
def test_the_command_of_the_sentence_makes_an_image_that_is_sent(tmp_path: Path) -> None:
    raw, backed, made = tmp_path / "a.raw", tmp_path / "b.qcow2", tmp_path / "IMAGE.qcow2"
    raw.write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", backed], check=True)
    fault = fault_of(str(backed), backed.read_bytes()[:HEADER_BYTES])
    subprocess.run(fault.rpartition(": ")[2].replace("IMAGE.qcow2", str(made)).split(), check=True)
    assert fault_of(str(made), made.read_bytes()[:HEADER_BYTES]) == ""


def test_no_byte_is_sent_of_a_file_that_is_no_base_image(tmp_path: Path) -> None:
    """Check that not even a connection is made."""
    image = tmp_path / "a.raw"
    image.write_bytes(bytes(1 << 20))
    upload = Upload(str(image), "base", ".base.part", (), is_image=True)
    with pytest.raises(Refused, match="is not a qcow2 file"):
        list(Copy("192.0.2.1", SSHSettings(), upload, 1.0).transfer())

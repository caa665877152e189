"""Images on their way to a worker: the manager's checks and the worker's program."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from remote import upload
from remote.plan import Upload


def test_an_image_that_could_not_be_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image").write_bytes(b"image")

    def fails(file: int) -> str:
        os.close(file)
        raise OSError("a disk that was away for a moment")

    with (tmp_path / "image").open("rb") as image:
        monkeypatch.setattr(upload, "_hash", fails)
        with pytest.raises(OSError, match="away"):
            upload._digest(image.fileno()).result()
        monkeypatch.undo()
        found = upload._digest(image.fileno())
        assert found.result() == hashlib.sha256(b"image").hexdigest()
        assert upload._digest(image.fileno()) is found


def test_a_file_is_opened_once_on_its_way_to_the_disk(tmp_path: Path) -> None:
    """Count the opens: a second one would truncate the file, and some filesystems would then wait for the disk."""
    dd, said = tmp_path / "dd", tmp_path / "said"
    dd.write_text(f'#!/bin/sh\n[ /proc/self/fd/1 -ef part ] && echo "$@" >{said}\nexec {shutil.which("dd")} "$@"\n')
    dd.chmod(0o700)
    content = b"image" * 1000
    program = upload.take_in(Upload("image", f"{tmp_path}/target", "part", ()), len(content), "nonce")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(
        ["sh", "-s"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(program.encode())
        assert process.stdout.readline() == b"nonce send\n"
        process.communicate(content + hashlib.sha256(content).hexdigest().encode() + b"\n", timeout=30)
    assert (process.returncode, (tmp_path / "target").read_bytes()) == (0, content)
    assert not [word for word in said.read_text().split() if word.startswith("of=")]

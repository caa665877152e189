"""Digests are kept, and made again for files that changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from images import digests
from images.digests import Digests


@pytest.fixture
def known(tmp_path: Path) -> Digests:
    like = tmp_path / "database.yaml"
    like.touch(mode=0o600)
    return Digests(tmp_path / "digests.json", like)


def test_a_file_is_read_once_until_it_changes(known: Digests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, read = tmp_path / "a.img", []

    def counted(path: Path) -> str:
        read.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(digests, "digest_of", counted)
    for content, times in ((b"one", 1), (b"one", 1), (b"longer", 2), (b"longer", 2)):
        if not image.exists() or image.read_bytes() != content:
            image.write_bytes(content)
        assert known.of([image]) == {image: hashlib.sha256(content).hexdigest()}
        assert len(read) == times


def test_a_file_that_is_missing_or_no_file_has_no_digest(known: Digests, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert known.of([tmp_path / "none", tmp_path / "pipe", tmp_path, Path("/dev/zero")]) == {}


@pytest.mark.parametrize("content", ["", "no json", "[1]", '{"/a": 1}', "\udcff"])
def test_a_damaged_cache_counts_as_empty(known: Digests, tmp_path: Path, content: str) -> None:
    (tmp_path / "digests.json").write_bytes(content.encode(errors="surrogateescape"))
    (tmp_path / "a.img").write_bytes(b"one")
    assert known.of([tmp_path / "a.img"]) == {tmp_path / "a.img": hashlib.sha256(b"one").hexdigest()}


def test_a_cache_that_cannot_be_written_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(b"one")
    unwritable = Digests(tmp_path / "none" / "digests.json", tmp_path / "a.img")
    assert unwritable.of([tmp_path / "a.img"]) == {tmp_path / "a.img": hashlib.sha256(b"one").hexdigest()}

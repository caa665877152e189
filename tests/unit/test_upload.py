"""Images on their way to a worker: what the manager finds out of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from remote import upload


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

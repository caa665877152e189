from __future__ import annotations

from pathlib import Path

import pytest

from lab import paths
from lab.errors import LabError
from lab.guest import cache
from lab.guest.debian import recipe, sources


@pytest.fixture(autouse=True)
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "release", lambda: "bookworm")


def fake(folder: Path) -> Path:
    (folder / "debian.qcow2").write_text("image")
    return folder / "debian.qcow2"


def test_the_image_is_built_once_and_then_found(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[str] = []
    monkeypatch.setattr(recipe, "build", fake)
    assert cache.debian_if_built() is None
    image = cache.debian(reports.append)
    assert cache.debian(reports.append) == cache.debian_if_built() == image
    assert len(reports) == 1
    assert [path.name for path in image.parent.iterdir()] == [image.name], "nothing of the build is left"


def test_a_build_that_fails_leaves_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path) -> Path:
        fake(folder)
        raise LabError("mke2fs: exit 1")

    monkeypatch.setattr(recipe, "build", fails)
    with pytest.raises(LabError, match="mke2fs"):
        cache.debian(lambda _line: None)
    assert cache.debian_if_built() is None
    assert [*(paths.cache_dir() / "debian").iterdir()] == []


def test_the_name_follows_the_recipe_and_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "HERE", tmp_path)
    file = tmp_path / "packages.txt"
    monkeypatch.setattr(recipe, "FILES", [file])
    monkeypatch.setattr(recipe, "build", fake)

    def name() -> str:
        return cache.debian(lambda _line: None).name

    file.write_text("frr\n")
    first = name()
    assert name() == first
    file.write_text("frr\nsudo\n")
    second = name()
    monkeypatch.setattr(sources, "release", lambda: "trixie")
    assert len({first, second, name()}) == 3


def test_a_machine_that_cannot_build_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses() -> str:
        raise LabError("this is Ubuntu")

    monkeypatch.setattr(sources, "release", refuses)
    assert cache.debian_if_built() is None

"""The operator's folder of slice files: only whole, regular files directly in it can be read through the menu."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.desk import Desk

FILE = "slice: lab\nvms: {a: cirros, b: cirros}\nlinks: [a - b]\n"


@pytest.fixture
def folder(desk: Desk, tmp_path: Path) -> Path:
    """Return the open folder, with a good file and all that may not be read through it."""
    outside, folder = tmp_path / "outside", tmp_path / "files"
    for each in (outside, folder, folder / "deep", folder / "folder.yaml"):
        each.mkdir()
    (outside / "secret.yaml").write_text(FILE)
    (folder / "deep" / "lab.yaml").write_text(FILE)
    (folder / "good.slice.yaml").write_text("\ufeff" + FILE)
    (folder / "other.yml").write_text(FILE)
    (folder / "notes.txt").write_text(FILE)
    (folder / ".hidden.yaml").write_text(FILE)
    (folder / "huge.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    (folder / "latin.yaml").write_bytes(b"slice: \xe4")
    (folder / "link.yaml").symlink_to(outside / "secret.yaml")
    (folder / "near.yaml").symlink_to("good.slice.yaml")
    os.mkfifo(folder / "pipe.yaml")
    with desk.path.open("a", encoding="utf-8") as file:
        file.write(f"files_dir: {folder}\n")
    return folder


@pytest.mark.on_a_file
@pytest.mark.usefixtures("folder")
def test_only_regular_files_with_the_ending_are_offered(desk: Desk) -> None:
    names = desk.ok(desk.api.designs.files("student"))
    assert names == ["good.slice.yaml", "huge.yaml", "latin.yaml", "other.yml"]
    assert [vm.name for vm in desk.ok(desk.api.designs.read_file("student", "good.slice.yaml")).vms] == ["a", "b"]


@pytest.mark.on_a_file
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("link.yaml", "link.yaml cannot be read (Too many levels of symbolic links); tell the operator"),
        ("near.yaml", "near.yaml cannot be read (Too many levels of symbolic links); tell the operator"),
        ("pipe.yaml", "pipe.yaml is no regular file"),
        ("folder.yaml", "folder.yaml"),
        ("huge.yaml", "huge.yaml is larger than 1024 KiB"),
        ("latin.yaml", "latin.yaml is not UTF-8 text"),
        ("gone.yaml", "gone.yaml cannot be read (No such file or directory)"),
        ("deep/lab.yaml", "deep/lab.yaml is no name of a slice file here"),
        ("../outside/secret.yaml", "../outside/secret.yaml is no name of a slice file here"),
        ("..", ".. is no name of a slice file here"),
        (".hidden.yaml", ".hidden.yaml is no name of a slice file here"),
        ("notes.txt", "notes.txt is no name of a slice file here"),
        ("good.slice.yaml\n", "good.slice.yaml"),
    ],
)
def test_nothing_else_is_read(desk: Desk, name: str, sentence: str) -> None:
    assert desk.no(desk.api.designs.read_file("student", name)).startswith(sentence)


def test_the_setting_stays_in_the_file_and_a_folder_that_is_gone_is_named(desk: Desk, folder: Path) -> None:
    desk.ok(desk.api.create_slice("student", "lab"))
    assert f"files_dir: {folder}" in desk.path.read_text(encoding="utf-8")
    folder.rename(folder.with_name("gone"))
    sentence = "The folder of slice files cannot be read (No such file or directory); tell the operator"
    assert desk.no(desk.api.designs.files("student")).startswith(sentence)


def test_without_the_setting_there_are_no_files(desk: Desk) -> None:
    assert desk.ok(desk.api.designs.files("student")) == []
    assert desk.no(desk.api.designs.read_file("student", "a.yaml")).startswith("There is no folder of slice files here")

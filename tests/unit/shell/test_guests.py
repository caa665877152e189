"""The scripts that guests with a seed run at their boot, in a folder that stands in for their root."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shell.scripts import load

INSTANCE = "var/lib/cloud/instance"
MARK = f"{INSTANCE}/first-boot-is-kept"
FILES = {
    f"{INSTANCE}/sem/config_users_groups": "123: 45.6\n",
    f"{INSTANCE}/sem/config_ssh": "123: 45.7\n",
    f"{INSTANCE}/user-data.txt": "#cloud-config\n",
    "etc/ssh/ssh_host_ed25519_key": "key\n",
    "etc/skel/.bashrc": "PS1=...\n",
    "etc/skel/.empty": "",
    "home/debian/.bashrc": "PS1=mine\n",
    "home/debian/.empty": "",
    "home/debian/notes": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def run(script: str, root: Path) -> str:
    done = subprocess.run(load(f"guests/{script}").argv(str(root)), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_a_first_boot_that_was_written_is_not_repeated(root: Path) -> None:
    """Also that of a guest whose seed had no such script yet: it has no mark."""
    assert run("repeat-first-boot", root) == ""
    assert contents(root) == FILES


@pytest.mark.parametrize("empty", [f"{INSTANCE}/sem/config_ssh", "etc/ssh/ssh_host_ed25519_key"])
def test_a_first_boot_that_was_cut_off_is_repeated(root: Path, empty: str) -> None:
    (root / empty).write_text("")
    (root / "home/debian/.bashrc").write_text("")
    assert run("repeat-first-boot", root) == "The first boot was cut off: it is repeated\n"
    left = {name: text for name, text in FILES.items() if "/sem/" not in name}
    assert contents(root) == left | {"home/debian/.bashrc": "PS1=...\n"} | ({empty: ""} if empty in left else {})


def test_a_link_in_a_home_is_not_followed(root: Path) -> None:
    (root / f"{INSTANCE}/sem/config_ssh").write_text("")
    (root / "home/debian/.bashrc").unlink()
    (root / "home/debian/.bashrc").symlink_to(root / "home/debian/notes")
    run("repeat-first-boot", root)
    assert (root / "home/debian/notes").read_text() == ""


def test_a_first_boot_on_the_disk_is_never_repeated(root: Path) -> None:
    run("keep-first-boot", root)
    assert (root / MARK).read_text() == "kept\n"
    before = (root / MARK).stat().st_mtime_ns
    (root / f"{INSTANCE}/sem/config_ssh").write_text("")
    assert run("keep-first-boot", root) == run("repeat-first-boot", root) == ""
    assert (root / f"{INSTANCE}/sem/config_ssh").exists()
    assert (root / MARK).stat().st_mtime_ns == before


def test_before_the_first_boot_there_is_nothing_to_repeat(tmp_path: Path) -> None:
    assert run("repeat-first-boot", tmp_path) == ""

"""The program restarts itself with the right Python, or says in a sentence what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from menu import environment

PACKAGE = Path(environment.__file__).parent
BARE = [sys.executable, "-S", "-I"]
"""A Python without any packages."""


@pytest.mark.parametrize(
    ("version", "missing", "words"),
    [
        ((3, 10), [], "Python 3.11 or newer is needed, this is 3.10"),
        ((3, 11), ["rich"], "Python packages are missing (rich); run `make setup` once"),
        ((3, 13), [], ""),
    ],
)
def test_complaint(version: tuple[int, ...], missing: list[str], words: str) -> None:
    assert environment.complaint(version, missing) == words


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    """Start the program in `folder` with a Python that has no packages."""
    (folder / "menu").mkdir()
    for name in ("__init__.py", "environment.py"):
        (folder / "menu" / name).write_bytes((PACKAGE / name).read_bytes())
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from menu import environment"
    return subprocess.run([*BARE, "-c", code], capture_output=True, text=True, check=False, timeout=30)


def test_without_packages_it_is_one_sentence(tmp_path: Path) -> None:
    done = start(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: Python packages are missing (paramiko, rich, yaml); run `make setup` once\n"


def test_the_packages_in_the_programs_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "ready").touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "our own: $*"\n', encoding="ascii")
    os.chmod(python, 0o755)  # noqa: PTH101, S103
    assert start(tmp_path).stdout.startswith("our own: -S -I -c ")

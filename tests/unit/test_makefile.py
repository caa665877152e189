"""The targets of the Makefile: the tests that they run, and `make run` with a stand-in for the lab."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests.support.paths import LONGEST_ON_THE_LAB, ROOT
from tests.support.playing import PROGRAM, terminal_of

READY = ("--old-file=packages", "--old-file=postgresql", "--old-file=.venv/ready")


def selections(target: str) -> list[str]:
    """Return the marks of the tests that a target runs. An option that could leave out others fails the test.

    To collect the tests, which compiles them, runs none.
    """
    argv = ("make", "--dry-run", *READY, target)
    lines = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    options = argparse.ArgumentParser(exit_on_error=False)
    for name in ("-m", "-n", "--dist"):
        options.add_argument(name, required=name == "-m")
    for name in ("-q", "--no-loadscope-reorder"):
        options.add_argument(name, action="store_true")
    runs = [line.partition("/pytest ")[2] for line in lines if "/pytest " in line and " --collect-only" not in line]
    return [str(options.parse_args(shlex.split(run)).m) for run in runs]


def test_make_check_and_the_rest_of_make_test_run_each_test_once() -> None:
    (checked,), tested = selections("check"), selections("test")
    assert tested[0] == checked
    for lab, long in product((False, True), repeat=2):
        runs = [run for run in tested if eval(run, {"lab": lab, "long": long})]  # noqa: S307
        assert len(runs) == 1, (lab, long)


def test_the_longest_files_on_the_lab_are_there() -> None:
    assert [path for path in LONGEST_ON_THE_LAB if not path.exists()] == []


@pytest.mark.long
def test_the_tests_say_that_the_debian_guest_is_not_built(tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "lab", "tests/lab/test_debian.py")
    environment = {**os.environ, "CLOUD_LAB_CACHE": str(tmp_path)}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "Left out: the Debian guest is not built; `make guest-debian` builds it\n" in done.stdout


def test_ci_builds_the_debian_guest_before_its_tests() -> None:
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1] == "make guest-debian test"


LAB = """import os, sys
if sys.argv[1] == "up":
    sys.exit(0)
assert sys.argv[1] == "run", sys.argv
{menu}
"""
MENU = f"os.execv(sys.executable, {[*PROGRAM]})"


def make_run(tmp_path: Path, menu: str, text: str = LAB, target: str = "run") -> tuple[str, ...]:
    lab = tmp_path / "lab.py"
    lab.write_text(text.format(menu=menu), encoding="utf-8")
    return ("make", *READY, target, f"LAB={sys.executable} {lab}")


def test_ctrl_c_ends_make_run_without_an_error_of_make(tmp_path: Path) -> None:
    with terminal_of(make_run(tmp_path, MENU)) as terminal:
        terminal.wait_for("Username: ")
        terminal.type("\x03")
        terminal.wait_for("Goodbye")
        status = terminal.exit_status()
    assert status in {0, -signal.SIGINT}
    assert "***" not in terminal.seen


@pytest.mark.parametrize("failure", [1, 70])
def test_a_failure_of_the_menu_is_one_of_make(tmp_path: Path, failure: int) -> None:
    with terminal_of(make_run(tmp_path, f"sys.exit({failure})")) as terminal:
        terminal.wait_for("run] Error")
        assert terminal.exit_status() == 2


SHARED = """import os, pathlib, sys
notes = pathlib.Path(__file__).with_suffix(".notes")
words = sys.argv[1:]
assert words[:2] == ["--name", "postgres"], words
with notes.open("a") as file:
    file.write(" ".join(words[2:]) + "\\n")
if "list" in words:
    sys.exit(notes.read_text().count("import") == 0)
if words[-1] == "cli.py":
    {menu}
"""
"""A lab of several managers, whose database has a cloud once one was brought in."""


def test_make_run_postgres_brings_the_lab_in_once_and_opens_the_menu(tmp_path: Path) -> None:
    argv = make_run(tmp_path, MENU, SHARED, "run-postgres")
    for _ in range(2):
        with terminal_of(argv) as terminal:
            terminal.wait_for("Username: ")
            terminal.type("\x03")
            terminal.wait_for("Goodbye")
            assert terminal.exit_status() in {0, -signal.SIGINT}
    noted = (tmp_path / "lab.notes").read_text(encoding="utf-8")
    assert noted.count("--managers 3 up\n") == 2
    assert noted.count("database import .lab/postgres/database.yaml\n") == 1


@pytest.mark.parametrize("target", ["test", "shake", "torture", "run-postgres"])
def test_postgresql_is_installed_only_for_what_needs_it(target: str) -> None:
    def commands(*words: str) -> list[str]:
        argv = ("make", "--dry-run", "--old-file=.venv/ready", *words)
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()

    assert "sh lab/install-packages postgresql" in commands(target)
    assert "sh lab/install-packages postgresql" not in commands("run")
    assert "postgresql" not in (ROOT / "lab/packages.txt").read_text(encoding="utf-8")

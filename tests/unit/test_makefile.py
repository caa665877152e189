"""The targets of the Makefile, with a stand-in for the lab."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support.playing import PROGRAM, terminal_of

LAB = """import os, sys
if sys.argv[1] == "up":
    sys.exit(0)
assert sys.argv[1] == "run", sys.argv
{menu}
"""
MENU = f"os.execv(sys.executable, {[*PROGRAM]})"


def make_run(tmp_path: Path, menu: str) -> tuple[str, ...]:
    lab = tmp_path / "lab.py"
    lab.write_text(LAB.format(menu=menu), encoding="utf-8")
    return ("make", "--old-file=packages", "--old-file=.venv/ready", "run", f"LAB={sys.executable} {lab}")


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

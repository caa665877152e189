"""The commands of the pages without a host, run and compared with the pages."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

COMMAND = re.compile(r"^python3 cli\.py ((?:user|log) .*)$", re.MULTILINE)


def run(database: Path, words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(database), *shlex.split(words)]
    return subprocess.run(argv, input="a password of the test\n", capture_output=True, text=True, check=False)


@pytest.mark.long
def test_the_commands_for_users_and_the_log_work_in_their_order(tmp_path: Path) -> None:
    database = tmp_path / "database.yaml"
    shutil.copy(ROOT / "database.yaml", database)
    page = "\n".join((ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("install-hosts", "operations"))
    commands = COMMAND.findall(page)
    assert len(commands) == 10
    answers = {words: run(database, words) for words in commands}
    assert not {words: done.stderr for words, done in answers.items() if done.returncode}
    assert answers["user list"].stdout.splitlines() == [
        "admin: admin, 0 of 10 VMs used, 0 of 20 slices: none",
        "alice: admin, 0 of 8 VMs used, 0 of 2 slices: none",
    ]
    assert len(answers["log --last 20"].stdout.splitlines()) == 6
    assert "user slices alice default" in page
    assert run(database, "user slices alice default").stdout == "alice may have 20 slices now\n"

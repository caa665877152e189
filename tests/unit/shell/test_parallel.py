"""One shell function for many objects side by side, run by a real shell."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shell.parallel import grouped
from shell.scripts import source

WORDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5)


def run(function: str, groups: Sequence[Sequence[str]], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    script = f'{source("functions/beside")}one() {{ {function}; }}\nbeside one "$@"'
    argv = ["sh", "-c", script, "sh", *grouped(groups)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd, timeout=20)


@settings(deadline=None)  # processes are started
@given(st.lists(st.lists(WORDS, max_size=12), max_size=4))
def test_each_gets_its_own_words_as_they_are(groups: list[list[str]]) -> None:
    done = run(r"""said="$#$(printf '|%s' "$@" | od -An -v -tx1 | tr -d ' \n')"; echo "$said" """, groups)
    expected = [f"{len(words)}{''.join(f'|{word}' for word in words or ['']).encode().hex()}" for words in groups]
    assert (done.returncode, done.stderr, sorted(done.stdout.split())) == (0, "", sorted(expected))


@pytest.mark.parametrize(
    ("said", "reported"),
    [("", ""), ("no", "it: no\n"), ("first\nlast", "first\nit: last\n"), ("a  *\n\n b", "a  *\n\nit:  b\n")],
)
def test_the_last_line_names_its_object(said: str, reported: str) -> None:
    assert run('printf %s "$2" >&2; exit 1', [("it", said)]).stderr == reported
    assert run('printf %s "$2" >&2', [("it", said)]).stderr == ""


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
def test_nothing_of_it_runs_any_more_when_it_ends_for_lack_of_processes() -> None:
    """Use a user without other processes, because the limit counts all processes of a user."""
    busy = 'i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; : >"$1"'
    script = f'{source("functions/beside")}one() {{ {busy}; }}\nbeside one "$@"'
    outer = 'sh -c "$@"; set -- *; [ ! -e "$1" ] || echo "$*"'
    argv = ["sh", "-c", outer, "sh", script, "sh", *grouped("abcdefghijkl")]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        limited = ["prlimit", "--nproc=6", "setpriv", "--reuid=64321", "--regid=64321", "--clear-groups", *argv]
        done = subprocess.run(limited, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
        later = sorted(path.name for path in Path(folder).iterdir())
    assert "Cannot fork" in done.stderr
    assert done.stdout.split() == later


def test_they_run_at_the_same_time(tmp_path: Path) -> None:
    wait = 'touch "$1"; until [ -e "$2" ]; do sleep 0.01; done'
    assert run(wait, [("a", "b"), ("b", "c"), ("c", "a")], tmp_path).returncode == 0


@pytest.mark.parametrize("bad", range(3))
def test_a_failure_of_one_is_a_failure_and_the_others_come_to_their_end(tmp_path: Path, bad: int) -> None:
    groups = [(str(number), str(int(number == bad))) for number in range(3)]
    done = run('[ "$2" = 0 ] || { echo "$1 is bad" >&2; exit 3; }; sleep 0.1; touch "$1"', groups, tmp_path)
    assert (done.returncode, done.stderr) == (1, f"{bad}: {bad} is bad\n")
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "2"} - {str(bad)}

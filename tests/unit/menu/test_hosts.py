"""`cli.py host forget`: its output, its question and its exit status."""

from __future__ import annotations

import io
from argparse import Namespace

import pytest

from core.errors import Refused
from menu.hosts import DONE, LEFT, forget
from tests.support.desk import WORKERS, Desk
from tests.support.playing import screen_of

pytestmark = pytest.mark.on_a_file


class TypedAnswer:
    """Return a keyboard with one answer, or with none."""

    def __init__(self, answer: str = "") -> None:
        self._answers = [answer] if answer else []

    def line(self, _prompt: str) -> str:
        if not self._answers:
            raise EOFError
        return self._answers.pop()


def run(
    desk: Desk, *, yes: bool = False, dry_run: bool = False, answer: str = "", terminal: bool = True
) -> tuple[int, str]:
    output = io.BytesIO()
    args = Namespace(address=WORKERS[1], yes=yes, dry_run=dry_run)
    screen = screen_of(output, terminal=terminal, width=200)
    return forget(desk.api.hosts, args, TypedAnswer(answer), screen), output.getvalue().decode()  # type: ignore[arg-type]


@pytest.fixture
def dead(desk: Desk) -> Desk:
    desk.ring(4)
    desk.cloud.hosts[WORKERS[1]].dead = True
    return desk


@pytest.mark.parametrize("answer", ["n", "..", ""])
def test_nothing_is_written_off_without_a_yes(dead: Desk, answer: str) -> None:
    before = dead.path.read_bytes()
    status, shown = run(dead, answer=answer)
    assert status == DONE
    assert "10.0.10.2 does not answer" in shown
    assert "would be written off: slice 1000 (ring) of student, design: vm1, vm3 lose their disks" in shown
    assert "Nothing was changed" in shown
    assert dead.path.read_bytes() == before


def test_a_dry_run_asks_nothing_and_changes_nothing(dead: Desk) -> None:
    before = dead.path.read_bytes()
    assert run(dead, dry_run=True, yes=True, terminal=False)[0] == DONE
    assert dead.path.read_bytes() == before


def test_without_a_terminal_it_needs_yes(dead: Desk) -> None:
    with pytest.raises(Refused, match="elsewhere it needs --yes"):
        run(dead, terminal=False)
    status, shown = run(dead, yes=True, terminal=False)
    assert status == DONE
    assert "10.0.10.2 is written off: take it out of workers_list" in shown


def test_an_unfit_address_is_refused_before_yes_is_asked_for(desk: Desk) -> None:
    with pytest.raises(Refused, match="answers, and its VMs may run"):
        run(desk, terminal=False)


def test_remaining_work_is_named(dead: Desk) -> None:
    dead.cloud.hosts[WORKERS[0]].memory_kib = 1 << 20
    status, shown = run(dead, answer="y")
    assert status == LEFT
    assert "still to be done: slice 1000: vm" in shown


def test_a_second_time_there_is_nothing(dead: Desk) -> None:
    run(dead, yes=True)
    assert "No slice has anything on 10.0.10.2" in run(dead, answer="n")[1]
    assert run(dead, yes=True)[0] == DONE

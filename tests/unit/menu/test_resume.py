"""`cli.py resume`: it ends what managers left when they died, without a question."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from core.errors import Refused
from core.status import SliceStatus
from menu import commands
from menu.arguments import parse
from menu.screen import Screen
from models import ADMIN
from remote.events import Event, StageStarted
from storage.location import absolute
from tests.support.desk import WORKERS, Desk, deployed
from tests.support.dying import ManagerDiesError


def die(event: Event) -> None:
    if isinstance(event, StageStarted) and event.stage.title == "launch":
        raise ManagerDiesError


@pytest.fixture
def resume(desk: Desk, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command, and returns its status, its output and its errors."""
    with desk.database.transaction() as state:
        state.users["admin"].role = ADMIN

    def run(*words: str, actor: str = "admin") -> tuple[int, str, str]:
        capfd.readouterr()
        args = parse(["--as", actor, "resume", *words], absolute(desk.location))
        status = commands.carry_out(desk.api, args, Screen(sys.stdout, terminal=False))
        return status, *capfd.readouterr()

    return run


Command = Callable[..., tuple[int, str, str]]


def left_deploying(desk: Desk) -> None:
    desk.ring(2)
    with pytest.raises(ManagerDiesError):
        desk.api.deploy_slice("student", 1000, die)


def left_deleting(desk: Desk) -> None:
    desk.ring(2)
    with desk.database.transaction() as state:
        state.slices[1000].status = SliceStatus.DELETING


@pytest.mark.parametrize(
    ("leave", "words", "sentence"),
    [
        (left_deploying, (), "Slice 1000 is running"),
        (left_deploying, ("--take-back",), "Slice 1000 is in design"),
        (left_deleting, (), "Slice 1000 is deleted"),
        (left_deleting, ("--take-back",), "Slice 1000 is deleted"),
    ],
)
def test_unfinished_changes_are_ended(
    desk: Desk, resume: Command, leave: Callable[[Desk], None], words: tuple[str, ...], sentence: str
) -> None:
    leave(desk)
    assert resume(*words)[:2] == (0, f"{sentence}\n")
    assert desk.ok(desk.api.unfinished("admin")) == []


def test_where_nothing_is_left_it_says_so(desk: Desk, resume: Command) -> None:
    deployed(desk)
    assert resume() == (0, "", "Nothing was left unfinished\n")


def test_what_cannot_be_ended_is_left_with_its_reason(desk: Desk, resume: Command) -> None:
    left_deleting(desk)
    desk.cloud.hosts[WORKERS[0]].dead = True
    status, _, errors = resume()
    assert status == 3
    assert "Slice 1000 is not all gone" in errors
    desk.cloud.hosts[WORKERS[0]].dead = False
    assert resume()[0] == 0


def test_a_change_that_a_session_works_on_is_left_alone(desk: Desk, resume: Command) -> None:
    left_deleting(desk)
    with desk.database.claim(1000):
        assert resume()[0] == 0
    assert desk.slice().status == SliceStatus.DELETING


def test_only_an_admin_may_end_changes_of_all(desk: Desk, resume: Command) -> None:
    left_deleting(desk)
    with pytest.raises(Refused, match="student is no admin"):
        resume(actor="student")


def test_a_file_refuses_to_raise_fences(desk: Desk, resume: Command) -> None:
    assert desk.path
    with pytest.raises(Refused, match="This database has one manager"):
        resume("--raise-fences")

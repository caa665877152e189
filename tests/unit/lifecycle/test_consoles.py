"""The right to a console: one user at a time, takeovers by owners and admins only, and sentences with advice."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from models import ADMIN
from tests.support.acts import read_log
from tests.support.desk import WORKERS, ConsoleHost, Desk

VISIT, OTHER = "a" * 24, "b" * 24


def at(hour: str, day: str = "") -> int:
    """Return the seconds of a time of day in this zone, today by default."""
    return int(time.mktime(time.strptime(f"{day or time.strftime('%Y-%m-%d')} {hour}", "%Y-%m-%d %H:%M")))


@pytest.fixture
def running(desk: Desk) -> Desk:
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    return desk


def host_of(desk: Desk, vm_id: int = 1001) -> ConsoleHost:
    vm = desk.slice().vm(vm_id)
    assert vm
    host = desk.cloud.hosts[vm.worker_ip]
    assert isinstance(host, ConsoleHost)
    return host


class Asked:
    """A user who answers yes or no, and records the questions."""

    def __init__(self, *answers: bool) -> None:
        self._answers: Iterator[bool] = iter(answers)
        self.sentences: list[str] = []

    def __call__(self, sentence: str) -> bool:
        self.sentences.append(sentence)
        return next(self._answers)


@pytest.mark.on_a_file
def test_the_owner_takes_a_console_over_after_a_yes(running: Desk) -> None:
    host = host_of(running)
    host.answers = [f"busy alice {at('02:13')} {VISIT}", "ready"]
    asked = Asked(True)
    running.ok(running.api.open_console("student", 1001, asked))
    assert asked.sentences == ["alice is using the console of vm0, since 02:13"]
    assert [argv[9] for argv in host.opened] == ["-", VISIT]
    assert [(e["action"], e["result"]) for e in read_log(running.path)][-2:] == [
        ("take console from alice", "ok"),
        ("open console", "ok"),
    ]


def test_a_no_takes_nothing_over(running: Desk) -> None:
    host = host_of(running)
    host.answers = [f"busy alice {at('02:13')} {VISIT}"]
    assert running.no(running.api.open_console("student", 1001, Asked(False))) == "alice keeps the console of vm0"
    assert len(host.opened) == 1


def test_an_admin_takes_over_any_console(running: Desk) -> None:
    with running.database.transaction() as state:
        state.users["admin"].role = ADMIN
    host_of(running).answers = [f"busy student {at('23:59', '2001-02-03')} {VISIT}"]
    asked = Asked(True)
    running.ok(running.api.open_console("admin", 1001, asked))
    assert asked.sentences == ["student is using the console of vm0, since 2001-02-03 23:59"]


def test_ones_own_other_session_is_named_as_that(running: Desk) -> None:
    host_of(running).answers = [f"busy student {at('10:00')} {VISIT}"]
    asked = Asked(False)
    running.no(running.api.open_console("student", 1001, asked))
    assert asked.sentences == ["Another session of yours is using the console of vm0, since 10:00"]


def test_a_faster_visitor_is_asked_about_too(running: Desk) -> None:
    host_of(running).answers = [f"busy alice 0 {VISIT}", f"busy bob 0 {OTHER}", f"busy carol 0 {VISIT}"]
    asked = Asked(True, True, True)
    assert "Other users took the console of vm0 meanwhile; try again" in running.no(
        running.api.open_console("student", 1001, asked)
    )
    assert [sentence.split()[0] for sentence in asked.sentences] == ["alice", "bob", "carol"]


def test_a_lock_without_a_name_cannot_be_taken_over(running: Desk) -> None:
    host_of(running).answers = ["busy - 0 -"]
    assert running.no(running.api.open_console("student", 1001, Asked())) == (
        "Another session is using the console of vm0; try again later"
    )


def test_a_user_who_may_not_take_over_is_only_informed(running: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.rights.may_take_over", lambda *_: False)
    host_of(running).answers = [f"busy alice {at('02:13')} {VISIT}"]
    assert running.no(running.api.open_console("student", 1001, Asked())) == (
        "alice is using the console of vm0, since 02:13; try again later"
    )


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("off", "VM 1001 (vm0) is off; start it: start 1000 vm0"),
        ("hung", "10.0.10.1: console of VM 1001 (vm0): QEMU runs and does not answer; try again, and tell the "),
        ("foreign", "10.0.10.1: console of VM 1001 (vm0): a program there that no menu started has it open; the "),
        ("stuck", "10.0.10.1: console of VM 1001 (vm0): the other visitor's program does not end; tell the operator"),
        ("unwritable", "10.0.10.1: console of VM 1001 (vm0): its lock cannot be written; is the disk full"),
        ("busy al\x1bice 1 x", "10.0.10.1 gives an invalid answer: the console could not be opened"),
    ],
)
def test_a_console_that_cannot_be_opened_comes_with_what_to_do(running: Desk, answer: str, sentence: str) -> None:
    host_of(running).answers = [answer]
    assert running.no(running.api.open_console("student", 1001)).startswith(sentence)
    assert host_of(running).address == WORKERS[0]


@pytest.mark.parametrize(
    ("complaint", "why"),
    [
        ("{visit} taken bob 1\n", "bob took it over"),
        ("{visit} off\n", "VM 1001 (vm0) is off; start it: start 1000 vm0"),
        ("{visit} closed\n", ""),
        ("", "the connection to 10.0.10.1 was lost"),
        ("noise\n", "the connection to 10.0.10.1 was lost"),
    ],
)
def test_a_console_that_ends_says_why(running: Desk, complaint: str, why: str) -> None:
    host_of(running).complaint = complaint
    assert running.ok(running.api.open_console("student", 1001)).why_closed() == why

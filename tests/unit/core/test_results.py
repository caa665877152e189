"""Results of use-cases: a pair, whose sentence keeps the class of the error behind it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import pytest

from core.errors import CloudError, CommandFailed, FileFault, HostUnreachable, Refused
from core.results import Failure, Result, value_of
from tests.support.desk import NETWORK, Desk


def test_a_failure_is_its_sentence() -> None:
    failure = Failure(Refused("There is no slice 7"))
    assert failure == "There is no slice 7"
    assert f"Error: {failure}" == "Error: There is no slice 7"
    assert json.dumps(failure) == '"There is no slice 7"'
    assert pickle.loads(pickle.dumps(str(failure))) == failure  # noqa: S301 - made here


def test_value_of_gives_the_value_or_raises_the_error() -> None:
    error = HostUnreachable("10.0.10.1", "no route")
    good: Result[int] = (True, 7)
    bad: Result[int] = (False, Failure(error))
    assert value_of(good) == 7
    with pytest.raises(HostUnreachable) as caught:
        value_of(bad)
    assert caught.value is error


def deployed(desk: Desk) -> None:
    desk.ok(desk.api.deploy_slice("student", 1000))


def failing(desk: Desk) -> None:
    desk.cloud.hosts[NETWORK].faults = {"DHCP": (1, "", "dnsmasq: no")}


def dead(desk: Desk) -> None:
    desk.cloud.hosts[NETWORK].dead = True


def broken(desk: Desk) -> None:
    desk.path.write_text("users: [")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (deployed, Refused),
        (failing, CommandFailed),
        (dead, HostUnreachable),
        (broken, FileFault),
    ],
)
def test_a_caller_that_is_no_menu_tells_kinds_of_failures_apart(
    desk: Desk, spoil: Callable[[Desk], object], kind: type[CloudError]
) -> None:
    desk.ring(2)
    spoil(desk)
    ok, failure = desk.api.deploy_slice("student", 1000)
    assert not ok
    assert isinstance(failure, Failure)
    assert type(failure.error) is kind
    assert str(failure.error) == failure
    if isinstance(failure.error, CommandFailed | HostUnreachable):
        assert failure.error.host == NETWORK


def test_the_error_of_a_broken_file_tells_users_no_more_than_its_sentence(desk: Desk) -> None:
    desk.ok(desk.api.authenticate("student", "admin"))
    broken(desk)
    ok, failure = desk.api.list_slices("student")
    assert not ok
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, FileFault)
    assert str(desk.path) not in repr(vars(failure.error)) + repr(failure.error) + failure

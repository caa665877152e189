"""The keys that lead out of a console."""

from __future__ import annotations

import pytest
import yaml

from core.inventory import ConsoleSettings
from core.rule import Broken
from database import open_store
from menu.exits import Exits
from orchestrator import OrchestratorAPI
from tests.support.desk import Desk

CASES: list[tuple[bytes, bytes, bytes | None]] = [
    (b"ls\r", b"ls\r", None),
    (b"ls\x1d0", b"ls", b"0"),
    (b"~.", b"", b""),
    (b"ls\r~.more", b"ls\r", b"more"),
    (b"ls\n~.", b"ls\n", b""),
    (b"ls ~.", b"ls ~.", None),
    (b"\r~~.", b"\r~.", None),
    (b"\r~x~.", b"\r~x~.", None),
    (b"\r~\r~.", b"\r~\r", b""),
    (b"\r~\x1d0", b"\r", b"0"),
    (b"\r~", b"\r", None),
    (b"\r..", b"\r..", None),
    (b"\xff\x00~.", b"\xff\x00~.", None),
    (b"\r\x1b[24;1R~.", b"\r\x1b[24;1R", b""),  # a terminal answers the guest's prompt, which asks for the cursor
    (b"\r~\x1b[24;1R.", b"\r\x1b[24;1R", b""),
    (b"\rx\x1b[24;1R~.", b"\rx\x1b[24;1R~.", None),
    (b"\r\x1bx~.", b"\r\x1bx~.", None),
    (b"\r\x1b[\r~.", b"\r\x1b[\r", b""),
]


@pytest.mark.parametrize(("typed", "passed", "rest"), CASES)
def test_keys_typed_at_once(typed: bytes, passed: bytes, rest: bytes | None) -> None:
    assert Exits().typed().split(typed) == (passed, rest)


@pytest.mark.parametrize(("typed", "passed", "rest"), CASES)
def test_keys_typed_one_by_one(typed: bytes, passed: bytes, rest: bytes | None) -> None:
    keys, seen = Exits().typed(), b""
    for place in range(len(typed)):
        piece, left = keys.split(typed[place : place + 1])
        seen += piece
        if left is not None:
            assert (left, typed[place + 1 :]) == (b"", rest)
            return
    assert (seen, rest) == (passed, None)


def test_piped_input_ends_with_a_control_character_only() -> None:
    assert Exits().piped().split(b"\n~.\nls\x1d0") == (b"\n~.\nls", b"0")
    assert Exits(["~."]).piped().split(b"~.\x1d0") == (b"~.", b"0")
    assert Exits(["ctrl-a"]).piped().split(b"\x1d\x010") == (b"\x1d", b"0")


@pytest.mark.parametrize(
    ("names", "typed", "piped"),
    [
        (("ctrl-]", "~."), "Leave with Ctrl-]. Or with ~. after Enter", "Leave with Ctrl-]."),
        (("ctrl-]",), "Leave with Ctrl-].", "Leave with Ctrl-]."),
        (("ctrl-a", "ctrl-]"), "Leave with Ctrl-A or Ctrl-].", "Leave with Ctrl-A or Ctrl-]."),
        (("~.", "%."), "Leave with ~. after Enter or %. after Enter.", "Leave with Ctrl-]."),
    ],
)
def test_the_hint_names_what_works(names: tuple[str, ...], typed: str, piped: str) -> None:
    assert (Exits(names).hint(typed=True), Exits(names).hint(typed=False)) == (typed, piped)


def test_they_are_set_in_the_file_and_stay_there(desk: Desk) -> None:
    assert desk.api.console_exits == ("ctrl-]", "~.")
    record = yaml.safe_load(desk.path.read_text())
    assert "console" not in record
    desk.path.write_text(yaml.safe_dump(record | {"console": {"exits": ["%."]}}))
    desk.path.with_name(f"{desk.path.name}.checked").unlink(missing_ok=True)
    api = OrchestratorAPI(open_store(desk.location), desk.cloud.connect)  # type: ignore[arg-type]
    assert api.console_exits == ("%.",)
    desk.ok(api.create_slice("student", "one"))
    assert yaml.safe_load(desk.path.read_text())["console"] == {"exits": ["%."]}


@pytest.mark.parametrize("exits", [["ctrl-]"], ["~."], ["ctrl-a", "ctrl-^", "ctrl-_", "ctrl-\\"], ["%.", "&."]])
def test_settings_that_work_are_taken(exits: list[str]) -> None:
    ConsoleSettings.rule()({"exits": exits})


@pytest.mark.parametrize(
    ("exits", "reason"),
    [
        ([], "exits: must have 1 to 4 entries, not 0"),
        (["~."] * 5, "exits: must have 1 to 4 entries, not 5"),
        ("~.", 'exits: must be a list, not "~."'),
        (
            ["ctrl-m"],
            "exits.0: must be ctrl- and one of a-z \\ ] ^ _ but i, j and m, or one of ~ % & @ # ! + = ^ and a dot, ",
        ),
        (["ctrl-["], "exits.0: must be ctrl- and one of"),
        (["a."], "exits.0: must be ctrl- and one of"),
        (["~"], "exits.0: must be ctrl- and one of"),
        ([5], "exits.0: must be ctrl- and one of"),
    ],
)
def test_settings_that_would_lead_nowhere_are_refused(exits: object, reason: str) -> None:
    with pytest.raises(Broken) as fault:
        ConsoleSettings.rule()({"exits": exits})
    assert str(fault.value).startswith(reason)

"""Bad input at every prompt gives one sentence with the allowed answers, and the same prompt again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.names import LAST_ID
from menu import console
from menu.entries import ENTRIES
from menu.keyboard import LONGEST_LINE, Lines
from menu.prompts import whole_number
from tests.support.fake_api import furnished
from tests.support.playing import LOGIN, Interrupting, play

EVERYWHERE = {
    "empty": b"",
    "spaces": b"   ",
    "control characters": b"\x1b[31m\x07",
    "NUL": b"\x00",
    "not UTF-8": b"\xff\xfe",
    "semicolon": b"a; reboot",
    "pipe": b"a|b",
    "substitution": b"$(reboot)",
    "backticks": b"`reboot`",
    "single quote": b"a'b",
    "double quote": b'a"b',
    "too long": b"x" * 300,
    "far too long": b"x" * 100_000,
    "markup": b"[bold]a[/bold]",
    "not ASCII": "ñandú".encode(),
}
NUMBERS = {
    "letters": b"abc",
    "negative": b"-1",
    "signed": b"+1",
    "fraction": b"1.5",
    "huge": b"9" * 5000,
    "too large": b"1000000",
    "hexadecimal": b"0x10",
    "Arabic digit": "٣".encode(),
    "full-width digit": "\N{FULLWIDTH DIGIT ONE}".encode(),
    "superscript": "²".encode(),
    "underscore": b"1_000",
}
NAMES = {"33 characters": b"a" * 33, "a space": b"a b", "a slash": b"../a", "a dot": b"a.b", "DEL": b"a\x7f"}
LETTERS = {"a word": b"maybe", "both": b"yn", "a number": b"1"}
INTERFACES = {"no number": b"eth", "capitals": b"ETH1", "negative": b"eth-1", "three digits": b"eth100"}

NEW_VM = "3\n1000\n"
NEW_LINK = "4\n1000\n"
TEMPLATE = LOGIN + "14\n1\n"
PROMPTS = {
    # prompt: what leads to it, what it refuses, what the sentence names
    "Username: ": ("", NAMES, "1 to 32 letters"),
    "Choose an option: ": (
        LOGIN,
        NUMBERS,
        f"from 0 to {max(entry.number for entry in ENTRIES if not entry.for_admins)}",
    ),
    "Slice name: ": (LOGIN + "2\n", NAMES, "1 to 32 letters"),
    "Slice ID: ": (LOGIN + "3\n", NUMBERS, f"from 1 to {LAST_ID}"),
    "VM name: ": (LOGIN + NEW_VM, NAMES, "1 to 32 letters"),
    "Choose flavor (1-2): ": (LOGIN + NEW_VM + "new\n", NUMBERS, "from 1 to 2"),
    "Number of data interfaces (eth1, eth2, ...): ": (LOGIN + NEW_VM + "new\n1\n", NUMBERS, "from 0 to 10"),
    "Enable internet access (eth0 in VLAN 400)? (y/n): ": (LOGIN + NEW_VM + "new\n1\n0\n", LETTERS, "y or n"),
    "First VM ID: ": (LOGIN + NEW_LINK, NUMBERS, f"from 1 to {LAST_ID}"),
    "First VM interface (e.g., eth1): ": (LOGIN + NEW_LINK + "1001\n", INTERFACES, "eth1"),
    "Second VM ID: ": (LOGIN + NEW_LINK + "1001\neth2\n", NUMBERS, f"from 1 to {LAST_ID}"),
    "Second VM interface (e.g., eth1): ": (LOGIN + NEW_LINK + "1001\neth2\n1002\n", INTERFACES, "eth1"),
    "Slice ID to deploy: ": (LOGIN + "6\n", NUMBERS, f"from 1 to {LAST_ID}"),
    "(y/n): ": (LOGIN + "7\n1000\n", LETTERS, "y or n"),
    "Choose a way (1-1): ": (LOGIN + "14\n", NUMBERS, "from 1 to 1"),
    "Kind and size (e.g., ring:6): ": (
        TEMPLATE,
        {"no size": b"ring", "too small": b"ring:2", "a LAN of one": b"lan:1"},
        " ",
    ),
    "Internet access (all, none or first): ": (TEMPLATE + "ring:3\n1\n", {"a number": b"1"}, "all or none or first"),
    "VM ID: ": (LOGIN + "9\n", NUMBERS, f"from 1 to {LAST_ID}"),
}
CASES = [
    pytest.param(prompt, before, bad, allowed, id=f"{prompt}{kind}")
    for prompt, (before, kinds, allowed) in PROMPTS.items()
    for kind, bad in {**EVERYWHERE, **kinds}.items()
]
EVERY_PROMPT = [pytest.param(prompt, before, id=prompt) for prompt, (before, _, _) in PROMPTS.items()]


@pytest.fixture(autouse=True, scope="module")
def _hasty_consoles() -> Iterator[None]:
    """Leave a silent guest at once."""
    before, console.QUIET = console.QUIET, 0.01
    yield
    console.QUIET = before


@cache
def output_before(before: str) -> str:
    """Return the output of these answers alone."""
    return play(furnished(), before)[1]


@pytest.mark.parametrize(("prompt", "before", "bad", "allowed"), CASES)
def test_bad_answer_is_one_sentence_and_the_prompt_again(prompt: str, before: str, bad: bytes, allowed: str) -> None:
    status, output = play(furnished(), before.encode() + bad + b"\n")

    errors = [line for line in output.splitlines() if "Error" in line]
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert allowed in errors[0]
    assert output.count(prompt) == output_before(before).count(prompt) + 1
    assert_clean(status, output)


@pytest.mark.parametrize(("prompt", "before"), EVERY_PROMPT)
def test_end_of_input_leaves_from_every_prompt(prompt: str, before: str) -> None:
    status, output = play(furnished(), before)

    assert output.splitlines()[-2].endswith(prompt)
    assert output.splitlines()[-1] == "Goodbye"
    assert status == 0


@pytest.mark.parametrize(("prompt", "before"), EVERY_PROMPT)
def test_ctrl_c_leaves_from_every_prompt(prompt: str, before: str) -> None:
    status, output = play(furnished(), before, Interrupting)

    assert output.splitlines()[-2].endswith(prompt)
    assert output.splitlines()[-1] == "Goodbye"
    assert status == 130


@pytest.mark.parametrize(("prompt", "before"), EVERY_PROMPT[1:])
def test_two_dots_lead_back_to_the_menu_from_every_prompt(prompt: str, before: str) -> None:
    status, output = play(furnished(), before + "..\n0\n")

    assert output.splitlines()[-2] == "Choose an option: "
    assert "Error" not in output
    assert prompt in output
    assert status == 0


@pytest.mark.parametrize("password", [b"", b"x" * 257, b"x" * 100_000])
def test_a_password_has_a_length(password: bytes) -> None:
    status, output = play(furnished(), b"admin\n" + password + b"\nadmin\n0\n")

    assert "Error: A password has 1 to 256 characters" in output.splitlines()
    assert status == 0


def test_spaces_around_an_answer_and_windows_line_ends_are_no_mistake() -> None:
    status, output = play(furnished(), b"admin\r\nadmin\r\n  2 \r\n\tweb-1\r\n0\r\n")

    assert "Slice created! ID: 1004" in output.splitlines()
    assert status == 0


LINES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.integers(-5, 1010).map(lambda number: str(number).encode()),
    st.sampled_from(
        [b"", b"admin", b"student", b"eth1", b"eth2", b"y", b"n", b"..", b"\x1d", b"vm9", b"f", b"t", b"l"]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=40), st.booleans())
def test_whatever_is_typed_the_menu_ends_well(lines: list[bytes], logged_in: bool) -> None:
    cloud = furnished()
    cloud.left_over = [1000]
    start = b"admin\nadmin\nl\n" if logged_in else b""
    assert_clean(*play(cloud, start + b"\n".join(lines)))


def assert_clean(status: int, output: str) -> None:
    assert status in {0, 1}
    assert "Traceback" not in output
    assert output.splitlines()[-1].endswith("Goodbye")
    shown = output.partition("Connected to ")[0]  # what a guest's console sends is passed on as it is
    assert all(character.isprintable() or character == "\n" for character in shown)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 9))
def test_whole_number_takes_what_is_in_its_range(number: int, high: int, zeros: int) -> None:
    assert whole_number("0" * zeros + str(number), 0, high) == (number if number <= high else None)


@given(st.text())
def test_whole_number_refuses_the_rest_without_an_exception(text: str) -> None:
    found = whole_number(text, 1, 99)
    assert found is None or (text.isascii() and int(text) == found)


@given(st.lists(st.binary(max_size=30).filter(lambda line: not line.endswith(b"\r"))), st.data())
def test_lines_come_as_they_were_sent_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(line.replace(b"\n", b" ") + b"\n" for line in lines)
    reader = Lines(-1)
    pieces = []
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        pieces.append(sent[:size])
        sent = sent[size:]
    reader._read = lambda: pieces.pop(0) if pieces else b""  # type: ignore[method-assign]
    for line in lines:
        assert reader.line() == line.replace(b"\n", b" ").decode("utf-8", "replace")
    with pytest.raises(EOFError):
        reader.line()


def test_an_endless_line_is_not_kept() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x" * 20_000 + b"\nnext\nlast")
    os.close(writing)
    lines = Lines(reading)

    assert lines.line() == "x" * LONGEST_LINE
    assert lines.line() == "next"
    assert lines.line() == "last"
    with pytest.raises(EOFError):
        lines.line()
    os.close(reading)
    with pytest.raises(EOFError):
        lines.line()  # a descriptor that is gone has nothing more to say

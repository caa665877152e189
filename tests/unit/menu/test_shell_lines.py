"""Commands in lines: a real shell reads every one of them as the words that it was made of."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menu.shell_lines import shell_lines

WORDS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=90), min_size=1, max_size=9)


def read_by_a_shell(commands: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the words of each command, given in lines, as sh(1) understands them."""
    script = "".join("set -- " + "\n".join(lines) + "\nprintf '%s\\0' $# \"$@\"\n" for lines in commands)
    said = subprocess.run(["sh"], input=script.encode(), stdout=subprocess.PIPE, check=True).stdout.decode()
    words, found = said.split("\0")[:-1], []
    while words:
        count = int(words.pop(0))
        found.append(words[:count])
        words = words[count:]
    return found


@settings(max_examples=60, deadline=None)  # processes are started
@given(WORDS, st.integers(24, 130), st.sets(st.integers(0, 9)))
def test_a_shell_reads_the_words_and_no_line_is_too_long(words: list[str], width: int, starts: set[int]) -> None:
    lines = shell_lines(words, "    # ", width, starts)
    assert max(map(len, lines)) <= width
    assert read_by_a_shell([[lines[0].removeprefix("    # "), *lines[1:]]]) == [words]


def test_a_command_that_fits_is_one_line() -> None:
    assert shell_lines(["ip", "link", "show", "a b"], "# ", 21, [2]) == ["# ip link show 'a b'"]


def test_a_long_command_begins_a_line_at_the_words_that_begin_one() -> None:
    assert shell_lines(["sh", "make.sh", "tap_1_eth0", "tap_1_eth1", "tap_1_eth2"], "# ", 40, [2, 3, 4]) == [
        "# sh make.sh \\",
        "        tap_1_eth0 \\",
        "        tap_1_eth1 \\",
        "        tap_1_eth2",
    ]


def test_an_option_keeps_its_value() -> None:
    words = ["qemu", "-name", "vm1", "-nodefaults", "-m", "512", "-netdev", "tap,ifname=tap_1_eth0"]
    assert shell_lines(words, "$ ", 32, [7]) == [
        "$ qemu -name vm1 -nodefaults \\",
        "        -m 512 \\",
        "        -netdev \\",
        "        tap,ifname=tap_1_eth0",
    ]


def test_a_word_longer_than_a_line_goes_on_in_the_first_column() -> None:
    assert shell_lines(["look", "one two three four five six, it's seven"], "# ", 30) == [
        "# look \\",
        "        'one two three four '\\",
        "'five six, it'\"'\"'s seven'",
    ]


def test_a_word_of_several_lines_keeps_them() -> None:
    assert shell_lines(["nft", "table x {\n  drop\n}", "y"], "# ", 40) == [
        "# nft \\",
        "        'table x {",
        "  drop",
        "}' y",
    ]


@pytest.mark.parametrize("width", [24, 40, 41, 42])
def test_text_after_a_command_has_room_as_well(width: int) -> None:
    lines = shell_lines(["nft", "-f", "-", "a" * 20], "# ", width, ending=" <<'END'")
    assert max(map(len, lines)) <= width
    assert lines[-1].endswith(" <<'END'")

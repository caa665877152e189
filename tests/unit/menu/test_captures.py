"""`capture` and its part of entry 18: words, the terminal, what is written, and what is said at each end."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.captures import MOST_PACKETS
from core.errors import CloudError, Refused
from menu import commands, restricted, session
from menu.arguments import parser, restricted_parser
from menu.entries import ENTRIES
from menu.keyboard import Keyboard, Lines
from menu.screen import Screen
from tests.support.desk import WORKERS, ConsoleHost, Desk, open_desk
from tests.support.local_channel import LocalChannel
from tests.support.playing import screen_of
from tests.unit.menu.test_ssh_config import play

PRINTABLE = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=20)


class CapturingHost(ConsoleHost):
    """A worker whose captures are a shell: it writes `output`, then that it ended with `status`."""

    output, status = "packets", "0"
    folder = Path()
    channels: tuple[LocalChannel, ...] = ()

    def open_terminal(self, argv: tuple[str, ...], script: str) -> LocalChannel:  # type: ignore[override]
        super().open_terminal(argv, script)
        name = self.joined[-1][0]
        text = f"printf '\\n%s ready\\n%b' {name} '{self.output}'"
        if self.status == "never":
            text += "; exec sleep 30"
        elif self.status:
            text += f"; printf '2 packets dropped by kernel\\n\\n%s %s\\n' {name} {self.status} >&2"
        self.channels = (*self.channels, LocalChannel(("sh", "-c", text), "", self.folder, {}))
        return self.channels[-1]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Desk]:
    """Return a running ring `ring` of student, whose captures are played."""
    desk = open_desk(tmp_path)
    for address in WORKERS:
        desk.cloud.hosts[address] = CapturingHost(address)
        host_of(desk, address).folder = tmp_path
    desk.ring(3)
    desk.api.accounts.set_password("student", "long enough")
    desk.ok(desk.api.deploy_slice("student", 1000))
    yield desk
    for address in WORKERS:
        for channel in host_of(desk, address).channels:
            channel.process.kill()
            channel.process.wait()
            if not channel.closed:
                channel.close()


def host_of(desk: Desk, address: str) -> CapturingHost:
    host = desk.cloud.hosts[address]
    assert isinstance(host, CapturingHost)
    return host


def say(desk: Desk, output: str, status: str) -> None:
    for address in WORKERS:
        host_of(desk, address).output, host_of(desk, address).status = output, status


def run(desk: Desk, capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    args = parser(desk.path).parse_args(["capture", *words, "--as", "student"])
    capfd.readouterr()
    status = commands.carry_out(desk.api, args, Screen(sys.stdout, terminal=False))
    return status, *capfd.readouterr()


# --- words ------------------------------------------------------------------------------------------------------------


PARSER = restricted_parser()


@settings(deadline=None)
@given(st.lists(PRINTABLE, max_size=8))
def test_all_words_after_dashes_are_the_filter(words: list[str]) -> None:
    given_words = ["capture", "lab", "r1", "eth1", "--count", "5", "--", *words]
    args = PARSER.parse_args(given_words)
    assert (args.slice, args.vm, args.nic, args.count, list(args.filter)) == ("lab", "r1", "eth1", 5, words)
    assert list(PARSER.parse_args(["capture", "--count=5", *given_words[1:4]]).filter) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("lab r1", "the following arguments are required: NIC"),
        ("lab r1 eth11", "an interface is eth0 to eth10"),
        ("lab r1 br-int", "an interface is eth0 to eth10"),
        ("lab r1 ../eth1", "an interface is eth0 to eth10"),
        ("lab r1 eth1 icmp", "write -- before the filter, as in -- icmp"),
        ("lab r1 eth1 -w x", "unrecognized arguments: -w"),
        ("lab r1 eth1 --count 0", "a number of packets is a whole number from 1 to 10000"),
        ("lab r1 eth1 --count 10001", "a number of packets is a whole number from 1 to 10000"),
        ("lab r1 eth1 --count -- 5", "expected one argument"),
        ("-- lab r1 eth1", "the following arguments are required: SLICE, VM, NIC"),
    ],
)
def test_wrong_words_get_one_sentence(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        restricted_parser().parse_args(["capture", *words.split()])
    errors = capsys.readouterr().err
    assert end.value.code == 2
    assert sentence in errors
    assert errors.count("\n") == 1


# --- the command ------------------------------------------------------------------------------------------------------


def test_packets_are_written_as_they_came(running: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    say(running, "packets", "0")
    status, output, errors = run(running, capfd, "ring", "vm0", "eth1", "--count", "2")
    assert "Capturing packets of eth1 of vm0; Ctrl-C ends it\n" in errors
    assert "Warning: 2 packets are missing: they came faster than they were read\n" in errors
    assert (status, output) == (3, "packets")


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        ("0", (), f"Warning: the capture ends after {MOST_PACKETS} packets\n"),
        ("124", ("--count", "2"), "Warning: the capture ends after 10 min\n"),
    ],
)
def test_a_bound_is_a_warning(
    running: Desk, capfd: pytest.CaptureFixture[str], status: str, words: tuple[str, ...], said: str
) -> None:
    say(running, "packets", status)
    found, output, errors = run(running, capfd, "ring", "vm0", "eth1", *words)
    assert (found, output) == (3, "packets")
    assert said in errors


@pytest.mark.parametrize(
    ("status", "said"), [("1", "broken off: tcpdump ended"), ("", "broken off: the connection to the worker was lost")]
)
def test_a_capture_that_breaks_off_is_an_error(
    running: Desk, capfd: pytest.CaptureFixture[str], status: str, said: str
) -> None:
    say(running, "packets", status)
    with pytest.raises(CloudError, match=said):
        run(running, capfd, "ring", "vm0", "eth1")


def test_a_terminal_gets_a_sentence_with_the_pipe(running: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", terminal)
        with pytest.raises(Refused, match=r"\| wireshark -k -i -, and call ssh without -t$") as refusal:
            restricted.carry_out(
                running.api, "student", b"capture ring vm0 eth1", Screen(terminal, terminal=True, width=80)
            )
        assert "ssh cloud@manager capture ring vm0 eth1 |" in str(refusal.value)
    os.close(master)
    assert not any(host_of(running, address).channels for address in WORKERS)


# --- entry 18 ---------------------------------------------------------------------------------------------------------


def test_the_menu_shows_lines_without_control_characters(running: Desk) -> None:
    say(running, r"12:00 ARP \0033[2J who\nsecond\nrest", "0")
    shown = play(running, "18\n7\n1001\neth1\nicmp or arp\n")
    assert "Interface (eth0, eth1, eth2): \n" in shown
    assert "The next 50 packets of eth1 of vm0, at most 60 s; Enter ends it\n" in shown
    assert "12:00 ARP ?[2J who\nsecond\n" in shown
    assert "\x1b" not in shown
    assert "The capture has ended after 50 packets\n" in shown
    joined = [words for address in WORKERS for words in host_of(running, address).joined]
    assert [words[3:] for words in joined] == [["text", "50", "60", "256", "5", "icmp or arp"]]


def test_the_menu_asks_again_for_a_filter_that_is_none(running: Desk) -> None:
    say(running, "", "124")
    shown = play(running, "18\n7\n1001\neth1\n-w x\n\n")
    assert "Error: A filter has at most 256 printable characters" in shown
    assert "The capture has ended after 60 s\n" in shown


def test_the_menu_names_what_is_not_there(running: Desk) -> None:
    assert "Error: You have no VM 4711; View my Slices shows the ids\n" in play(running, "18\n7\n4711\n")
    assert "Error: VM 1001 (vm0) has no eth9; its" in play(running, "18\n7\n1001\neth9\n\n")
    say(running, "", "")
    assert "Error: The capture was broken off: the connection" in play(running, "18\n7\n1001\neth1\n\n")


def test_enter_on_a_terminal_ends_it(running: Desk) -> None:
    """The rest of the script stands for what is typed while packets are shown."""
    say(running, "12:00 ARP who\n", "never")
    output = io.BytesIO()
    screen = screen_of(output, terminal=True)
    reading, writing = os.pipe()
    os.write(writing, b"student\nlong enough\n18\n7\n1001\neth1\n\n")
    lines = WaitingLines(reading, writing)
    session.run(running.api, screen, Keyboard(lines, screen), ENTRIES)
    os.close(reading)
    shown = output.getvalue().decode()
    assert "The capture has ended\r\n" in shown.replace("\n", "\r\n")
    assert shown.count("Choose an option") == 2


class WaitingLines(Lines):
    """A keyboard on which Enter is typed after the answers, and then the menu is left."""

    def __init__(self, reading: int, writing: int) -> None:
        super().__init__(reading)
        self._writing = writing

    def line(self) -> str:
        answer = super().line()
        if not self.pending and self._writing >= 0:
            os.write(self._writing, b"\n")
            os.close(self._writing)
            self._writing = -1
        return answer

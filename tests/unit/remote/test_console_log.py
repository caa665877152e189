"""Reading along at a console: the real script and tail, on the log of a process that stands in for QEMU."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from menu.pipe import Pipe, PipeEnd
from remote.console_log import SHOWN_BYTES, GuestOffError, LogStream, LogVisit, watch
from tests.support.lab.visitor import wait_until
from tests.support.local_channel import LocalChannel

MARK = "slice1000-vm1001"


class LoggedGuest:
    """A guest with a log of many letters and a last line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "vm.log"
        self.log.write_bytes(b"a" * 10_000 + b"\nlogin: ")
        self.qemu = subprocess.Popen([sys.executable, "-c", "input()", MARK], stdin=subprocess.PIPE)
        (folder / "vm.pid").write_text(f"{self.qemu.pid}\n")
        self.channels: list[LocalChannel] = []
        self.threads: list[threading.Thread] = []

    def watch(self) -> LogStream:
        visit = LogVisit("vm.log", "vm.pid", MARK)
        self.channels.append(LocalChannel(visit.argv, visit.script, self.folder, {}))
        return watch(self.channels[-1], visit, "10.0.10.1")

    def read_along(self) -> tuple[int, list[PipeEnd]]:
        """Return the descriptor of what is shown, and what will be the end."""
        stream, ends = self.watch(), list[PipeEnd]()
        reading, target = os.pipe()
        run = Pipe(stream, None, target, 60.0).run
        self.threads.append(threading.Thread(target=lambda: ends.append(run()), daemon=True))
        self.threads[-1].start()
        return reading, ends

    def write(self, text: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(text)

    def stop(self) -> None:
        self.qemu.kill()
        self.qemu.communicate()


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[LoggedGuest]:
    guest = LoggedGuest(tmp_path)
    yield guest
    guest.stop()
    for thread in guest.threads:
        thread.join(10)
    for channel in guest.channels:
        channel.process.kill()
        channel.process.wait()
        if not channel.closed:
            channel.close()


def read_until(descriptor: int, text: bytes) -> bytes:
    shown = b""
    while not shown.endswith(text):
        piece = os.read(descriptor, 65_536)
        assert piece, shown
        shown += piece
    return shown


def test_the_end_of_the_log_comes_first_and_the_rest_as_it_is_written(guest: LoggedGuest) -> None:
    reading, ends = guest.read_along()
    assert len(read_until(reading, b"\nlogin: ")) == SHOWN_BYTES
    for number in range(3):
        guest.write(b"line %d\n" % number)
        assert read_until(reading, b"line %d\n" % number) == b"line %d\n" % number
    guest.stop()
    guest.threads[0].join(10)
    assert ends == [PipeEnd.GUEST]


def test_a_log_that_goes_on_in_another_file_is_read_to_its_end(guest: LoggedGuest) -> None:
    reading, _ = guest.read_along()
    read_until(reading, b"login: ")
    end = guest.log.with_name("vm.log-end")
    end.write_bytes(b"first of the end\n")
    assert read_until(reading, b"of the end\n") == b"first of the end\n"
    end.rename(guest.log.with_name("vm.log-old"))
    end.write_bytes(b"second\n")
    assert read_until(reading, b"second\n") == b"second\n"
    later, _ = guest.read_along()
    assert read_until(later, b"second\n") == b"second\n"


def test_two_read_along_at_once(guest: LoggedGuest) -> None:
    readers = [guest.read_along()[0] for _ in range(2)]
    guest.write(b"both")
    assert [read_until(reading, b"both")[-4:] for reading in readers] == [b"both", b"both"]


def test_a_reader_that_leaves_leaves_nothing_behind(guest: LoggedGuest) -> None:
    stream = guest.watch()
    stream.close()
    wait_until(lambda: guest.channels[0].process.poll() is not None, "the end of tail", 10)


def test_a_guest_that_is_off_has_no_log_to_read(guest: LoggedGuest) -> None:
    guest.stop()
    with pytest.raises(GuestOffError):
        guest.watch()
    assert guest.channels[0].closed

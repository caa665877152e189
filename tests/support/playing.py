"""The menu, played: the real loop with scripted input in this process, and the real program on pipes or a terminal."""

from __future__ import annotations

import errno
import io
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import cli
from menu import session
from menu.entries import ENTRIES
from menu.keyboard import Keyboard, Lines
from menu.screen import Screen
from tests.support.fake_api import FakeAPI
from tests.support.paths import ROOT

ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
PROGRAM = (sys.executable, "-m", "tests.support.fake_api")
LOGIN = "admin\nadmin\n"


class Interrupting(Lines):
    """A keyboard that presses Ctrl-C at the end of the script."""

    def line(self) -> str:
        try:
            return super().line()
        except EOFError:
            raise KeyboardInterrupt from None


def screen_of(stream: io.BytesIO, *, terminal: bool = False, width: int = 80) -> Screen:
    text = io.TextIOWrapper(stream, encoding="utf-8", write_through=True)
    return Screen(text, terminal=terminal, width=width)


def play(cloud: FakeAPI, script: str | bytes, reader: type[Lines] = Lines) -> tuple[int, str]:
    """Return the exit status and the output when `script` is piped into the menu."""
    status, output = play_raw(cloud, script, reader)
    return status, output.decode()


def play_raw(cloud: FakeAPI, script: str | bytes, reader: type[Lines] = Lines) -> tuple[int, bytes]:
    """Return the same in bytes, because a guest's console may send any."""
    output = io.BytesIO()
    screen = screen_of(output)
    with tempfile.TemporaryFile() as file:
        file.write(script.encode() if isinstance(script, str) else script)
        file.seek(0)
        status = session.run(cloud, screen, Keyboard(reader(file.fileno()), screen), ENTRIES)  # type: ignore[arg-type]
    return status, output.getvalue()


def run_program(
    *arguments: str, stdin: bytes = b"", cwd: Path = ROOT, line: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run the real program on pipes; in the shell line `line`, `"$@"` is the program."""
    command = ("sh", "-c", line, "sh", *PROGRAM, *arguments) if line else (*PROGRAM, *arguments)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, env=environment, timeout=60, check=False)


def run_command(database: Path, *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Return exit status, output and errors of `cli.py` in a fork of this process, which has loaded its modules.

    A start of the program takes 200 ms of the processor, and a fork 10. Tests of the start itself use `run_program`.
    """
    with ExitStack() as files:
        streams = [files.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        streams[0].write(stdin)
        streams[0].seek(0)
        pid = os.fork()
        if pid == 0:
            _be_the_program(streams, ["--database", str(database), *words])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for stream in streams:
            stream.seek(0)
        _, output, errors = (stream.read().decode() for stream in streams)
        return status, output, errors


def _be_the_program(streams: Sequence[IO[bytes]], words: Sequence[str]) -> NoReturn:
    """Run the program in place of the rest of this process."""
    status: object = os.EX_SOFTWARE
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in enumerate("rww"))  # noqa: PTH123, SIM115
        sys.argv = ["cli.py", *words]
        os.chdir(ROOT)
        status = cli.main(words)
    except SystemExit as end:
        status = end.code
    finally:
        cli.leave(status if isinstance(status, int) else 1)


@dataclass
class Terminal:
    """The real program on its own terminal."""

    pid: int
    master: int
    seen: str = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, text: str, deadline: float = 20.0) -> str:
        """Return the output up to `text`, and forget it."""
        end = time.monotonic() + deadline
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} never came; seen: {self.seen!r}"
            self._read(0.2)
        before, _, self.seen = self.seen.partition(text)
        return before

    def play(self, typed: bytes, leave: bytes, deadline: float = 60.0) -> str:
        """Type all keys, then `leave` until the program has ended; return the output."""
        end = time.monotonic() + deadline
        while os.waitid(os.P_PID, self.pid, ENDED) is None:
            assert time.monotonic() < end, f"still running; seen: {self.seen[-500:]!r}"
            try:
                written = os.write(self.master, typed[:200] or leave)
            except BlockingIOError:  # the program does not read at present, or has just ended
                written = 0
            typed = typed[written:]
            self._read(0.02 if typed else 0.2)
        while select.select([self.master], [], [], 0)[0] and time.monotonic() < end:
            before = len(self.seen)
            self._read(0)
            if len(self.seen) == before:
                break
        shown, self.seen = self.seen, ""
        return shown

    def exit_status(self, deadline: float = 20.0) -> int:
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"still running; seen: {self.seen!r}")

    def _read(self, timeout: float) -> None:
        if not select.select([self.master], [], [], timeout)[0]:
            return
        try:
            self.seen += os.read(self.master, 65_536).decode(errors="replace")
        except OSError:  # Linux says so when the last process has closed its side
            time.sleep(timeout)


@contextmanager
def on_terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    """Run the program on the cloud in memory, on a terminal."""
    with terminal_of((*PROGRAM, *arguments), **environment) as terminal:
        yield terminal


@contextmanager
def terminal_of(argv: tuple[str, ...], **environment: str) -> Iterator[Terminal]:
    """Run any program on a terminal; kill it at the end."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):  # undo the settings of `nohup`
            signal.signal(number, signal.SIG_DFL)
        os.environ.update({"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "50", **environment})
        os.execvp(argv[0], argv)  # noqa: S606 - a program of the test's own
    os.set_blocking(master, False)
    terminal = Terminal(pid, master)
    try:
        yield terminal
    finally:
        os.close(master)
        if terminal.pid:
            os.kill(terminal.pid, 9)
            os.waitpid(terminal.pid, 0)


class Lost(io.RawIOBase):
    """A terminal that takes `lasts` writes and is gone then."""

    def __init__(self, lasts: int) -> None:
        self.left = lasts

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.EIO, "Input/output error")
        return len(data)


def screen_that_is_lost(lasts: int, *, terminal: bool) -> Screen:
    """Return a screen that takes `lasts` writes and is gone then."""
    stream = io.TextIOWrapper(io.BufferedWriter(Lost(lasts), 1), write_through=True)
    return Screen(stream, terminal=terminal, width=80)

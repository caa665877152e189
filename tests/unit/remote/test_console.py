"""The worker's part of a console: the real script, with lock and socat, at a socket that is served like QEMU's.

One client at a time is accepted; the next one waits, and its earlier input is read when its turn comes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from core.errors import HostUnreachable, InvalidAnswer
from remote import joined as joining
from remote.console import Answer, Console, EndReason, NotJoined, Visit, join
from tests.support.desk import FakeChannel
from tests.support.local_channel import LocalChannel

HOST = "10.0.10.1"
MARK = "slice1000-vm1001"

# Serves like QEMU's chardev, and returns its input in capitals; it also records each line.
GUEST = """
import os, socket, sys
path, notes = sys.argv[1:3]
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(1)
print("up", flush=True)
while True:
    client, _ = server.accept()
    while heard := client.recv(4096):
        with open(notes, "ab") as file:
            file.write(heard)
        if b"poweroff" in heard:
            os._exit(0)
        try:
            client.sendall(heard.upper())
        except OSError:
            break
    client.close()
"""


class ConsoleWorker:
    """A folder with a guest's console and its visits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = f"{secrets.token_hex(4)}.console"
        """Its own among those of all tests: /proc/net/unix shows relative paths as they were given."""
        self.visits: list[LocalChannel] = []
        self.start()

    def start(self) -> None:
        argv = [sys.executable, "-c", GUEST, self.socket, "heard", MARK]
        self.qemu = subprocess.Popen(argv, cwd=self.folder, stdout=subprocess.PIPE)
        assert self.qemu.stdout
        assert self.qemu.stdout.readline() == b"up\n"
        (self.folder / "vm.pid").write_text(f"{self.qemu.pid}\n")

    def visit(
        self,
        user: str,
        ends: str = "-",
        *,
        silent: int = 15,
        environment: dict[str, str] | None = None,
        typed_ahead: bytes = b"",
    ) -> Console:
        visit = Visit(
            self.socket, "vm.console-lock", "vm.pid", MARK, user, ends, check_seconds=0.2, silent_seconds=silent
        )
        channel = LocalChannel(visit.argv, visit.script, self.folder, environment or {})
        with suppress(BrokenPipeError):  # the visit was refused already
            os.write(channel.stdin.fileno(), typed_ahead)
        self.visits.append(channel)
        return join(channel, visit, HOST)

    def refusal(self, user: str, ends: str = "-") -> NotJoined:
        with pytest.raises(NotJoined) as refusal:
            self.visit(user, ends)
        return refusal.value

    def input_lines(self) -> bytes:
        """Return the guest's input from all visitors."""
        path = self.folder / "heard"
        return path.read_bytes() if path.exists() else b""

    def close(self) -> None:
        for channel in self.visits:
            channel.close()
            with suppress(ProcessLookupError):
                os.killpg(channel.process.pid, signal.SIGKILL)
            channel.process.wait()
        self.qemu.send_signal(signal.SIGCONT)
        self.qemu.kill()
        self.qemu.wait()
        assert self.qemu.stdout
        self.qemu.stdout.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[ConsoleWorker]:
    assert shutil.which("socat"), "socat is not installed (apt-get install socat)"
    worker = ConsoleWorker(tmp_path)
    try:
        yield worker
    finally:
        worker.close()


def read_until(visit: Console, words: bytes) -> bytes:
    input_lines, deadline = b"", time.monotonic() + 10
    while words not in input_lines:
        assert time.monotonic() < deadline, f"{words!r} never came: {input_lines!r}"
        with suppress(BlockingIOError):
            input_lines += visit.recv(4096)
        time.sleep(0.01)
    return input_lines


def processes(folder: Path) -> list[str]:
    """Return the running programs of visits in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and (entry / "cwd").readlink() == folder:
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return [line for line in found if line.startswith(("socat", "sh -s"))]


def until_free(worker: ConsoleWorker, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while left := processes(worker.folder):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def test_a_visitor_is_joined_with_the_guest(worker: ConsoleWorker) -> None:
    visit = worker.visit("alice")
    assert visit.send(b"hello\xff\x00") == 7
    assert read_until(visit, b"HELLO\xff\x00") == b"HELLO\xff\x00"
    visit.close()
    until_free(worker)


def test_a_second_visitor_gets_name_and_time_of_the_first(worker: ConsoleWorker) -> None:
    before = int(time.time())
    visit = worker.visit("alice")
    refusal = worker.refusal("bob")
    assert (refusal.answer, refusal.holder and refusal.holder.user) == (Answer.BUSY, "alice")
    assert refusal.holder
    assert before <= refusal.holder.since <= time.time()
    visit.send(b"still mine")
    read_until(visit, b"STILL MINE")


def test_no_key_of_a_second_visitor_ever_reaches_the_guest(worker: ConsoleWorker) -> None:
    first = worker.visit("alice")
    with pytest.raises(NotJoined):
        worker.visit("bob", typed_ahead=b"touch ran\n")
    first.close()
    worker.visit("alice").send(b"end")
    deadline = time.monotonic() + 10
    while b"end" not in worker.input_lines():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert worker.input_lines() == b"end"
    assert not (worker.folder / "ran").exists()


def test_a_console_is_free_at_once_after_a_visit(worker: ConsoleWorker) -> None:
    for _ in range(5):
        visit = worker.visit("alice")
        visit.send(b"x")
        visit.close()
    assert worker.input_lines() == b"x" * 5


def test_a_visit_is_taken_over_and_the_new_users_name_shown(worker: ConsoleWorker) -> None:
    first = worker.visit("alice")
    holder = worker.refusal("bob").holder
    assert holder
    second = worker.visit("bob", holder.visit)
    reason, by = first.end_reason()
    assert (reason, by and by.user) == (EndReason.TAKEN, "bob")
    second.send(b"mine now")
    read_until(second, b"MINE NOW")
    assert (worker.refusal("carol").holder or holder).user == "bob"


def test_only_the_visit_that_was_named_is_taken_over(worker: ConsoleWorker) -> None:
    first = worker.visit("alice")
    holder = worker.refusal("bob").holder
    assert holder
    first.close()
    worker.visit("carol")
    refusal = worker.refusal("bob", holder.visit)
    assert (refusal.answer, refusal.holder and refusal.holder.user) == (Answer.BUSY, "carol")


def test_the_lock_names_every_program_of_a_visit(worker: ConsoleWorker) -> None:
    """One that is not named there cannot be ended where it hangs with the lock in its hands."""
    worker.visit("alice")
    lock = worker.folder / "vm.console-lock"
    _, _, _, *named = lock.read_text().split()
    holders = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and any(fd.readlink() == lock for fd in (entry / "fd").iterdir()):
                holders.add(entry.name)
    assert 2 <= len(holders) <= len(named) == 3
    assert holders <= set(named)


@pytest.mark.long
@pytest.mark.parametrize("frozen", ["sh -s", "socat"])
def test_a_visit_whose_programs_do_not_end_is_taken_over_all_the_same(worker: ConsoleWorker, frozen: str) -> None:
    worker.visit("alice")
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and (entry / "cwd").readlink() == worker.folder:
                words = (entry / "cmdline").read_text().replace("\0", " ")
                if words.startswith(frozen):
                    os.kill(int(entry.name), signal.SIGSTOP)
    holder = worker.refusal("alice").holder
    assert holder
    second = worker.visit("alice", holder.visit)
    second.send(b"mine")
    read_until(second, b"MINE")


def test_a_stopped_vm_is_reported_as_off(worker: ConsoleWorker) -> None:
    worker.qemu.kill()
    worker.qemu.wait()
    assert worker.refusal("alice").answer is Answer.OFF


def test_a_vm_that_ends_meanwhile_is_reported_as_off(worker: ConsoleWorker) -> None:
    visit = worker.visit("alice")
    visit.send(b"poweroff")
    worker.qemu.wait(10)
    assert visit.end_reason() == (EndReason.OFF, None)


def test_a_console_that_ends_while_the_vm_runs_is_closed(worker: ConsoleWorker) -> None:
    visit = worker.visit("alice")
    subprocess.run(["sh", "-c", f"kill -KILL $(cut -d ' ' -f 5 {worker.folder}/vm.console-lock)"], check=True)
    assert visit.end_reason() == (EndReason.CLOSED, None)


@pytest.mark.long
def test_a_vm_that_hangs_keeps_no_key_for_later(worker: ConsoleWorker) -> None:
    worker.qemu.send_signal(signal.SIGSTOP)
    assert worker.refusal("alice").answer is Answer.HUNG
    until_free(worker)
    worker.qemu.send_signal(signal.SIGCONT)
    visit = worker.visit("alice")
    visit.send(b"ok")
    read_until(visit, b"OK")
    assert worker.input_lines() == b"ok"


@pytest.mark.long
def test_a_program_without_the_lock_differs_from_a_visitor(worker: ConsoleWorker) -> None:
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.connect(f"{worker.folder}/{worker.socket}")
        assert worker.refusal("alice").answer is Answer.FOREIGN
    worker.visit("alice")


def test_a_lock_that_cannot_be_written_is_reported(worker: ConsoleWorker) -> None:
    (worker.folder / "vm.console-lock").mkdir()
    assert worker.refusal("alice").answer is Answer.UNWRITABLE


def test_a_lock_of_a_visitor_who_died_is_free(worker: ConsoleWorker) -> None:
    worker.visit("alice")
    os.killpg(worker.visits[0].process.pid, signal.SIGKILL)
    worker.visits[0].process.wait()
    worker.visit("bob")


def test_a_manager_that_dies_takes_the_visit_along(worker: ConsoleWorker) -> None:
    worker.visit("alice")
    worker.visits[0].close()  # like sshd with the streams of an ended connection
    until_free(worker)
    worker.visit("bob")


def test_a_visit_ends_with_its_shell_also_where_that_is_not_reaped(worker: ConsoleWorker) -> None:
    worker.visit("alice")
    worker.visits[0].process.kill()
    until_free(worker)


@pytest.mark.long
def test_a_manager_that_says_nothing_any_more_loses_the_console(worker: ConsoleWorker) -> None:
    """Silence a manager: the kernel's own count of the silence ends its visit after a cut connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as manager:
            sshd, peer = server.accept()
            environment = {"SSH_CONNECTION": f"127.0.0.1 {peer[1]} 127.0.0.1 {server.getsockname()[1]}"}
            manager.sendall(b"alive")
            visit = worker.visit("alice", silent=2, environment=environment)
            for _ in range(12):
                manager.sendall(b"alive")
                time.sleep(0.2)
            visit.send(b"here")
            read_until(visit, b"HERE")
            until_free(worker)
            assert visit.end_reason()[0] is EndReason.CLOSED
        sshd.close()


def test_a_connection_that_is_gone_ends_the_visit(worker: ConsoleWorker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        manager = socket.create_connection(server.getsockname())
        sshd, peer = server.accept()
        environment = {"SSH_CONNECTION": f"127.0.0.1 {peer[1]} 127.0.0.1 {server.getsockname()[1]}"}
        worker.visit("alice", environment=environment)
        sshd.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sshd.close()
        manager.close()
        until_free(worker)


# --- what a worker answers --------------------------------------------------------------------------------------------


def joined(words: bytes, complaint: bytes = b"") -> tuple[Console, FakeChannel, Visit]:
    visit = Visit("s", "l", "p", "m", "alice", name="0" * 24)
    channel = FakeChannel(words, complaint)
    return join(channel, visit, HOST), channel, visit


def test_a_greeting_of_the_login_shell_is_skipped_and_the_guests_output_kept() -> None:
    visit, _, _ = joined(b"Last login: 0\n" * 1000 + b"no line end\n" + b"0" * 24 + b" ready\nlogin: ")
    assert visit.recv(100) == b"login: "
    assert visit.recv(100) == b""


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"busy",
        b"busy a b c d",
        b"busy alice now " + b"0" * 24,
        b"busy al\x1bice 1 " + b"0" * 24,
        b"mad",
        b"busy a 1 x",
    ],
)
def test_an_answer_that_makes_no_sense_is_named_as_one(words: bytes) -> None:
    with pytest.raises(InvalidAnswer, match=r"10\.0\.10\.1 gives an invalid answer"):
        joined(b"\n" + b"0" * 24 + b" " + words + b"\n")


def test_a_shell_that_ends_at_once_is_quoted() -> None:
    with pytest.raises(InvalidAnswer, match=r"could not be opened: This account is not available\.$"):
        joined(b"This account is not available.\n")
    with pytest.raises(InvalidAnswer, match=r"could not be opened: sh: not found$"):
        joined(b"", b"sh: not found\n")
    with pytest.raises(InvalidAnswer, match=r"its shell ended with no output$"):
        joined(b"")


def test_a_worker_that_talks_for_ever_is_left_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "JOIN_SECONDS", 0.3)

    class TalkingChannel(FakeChannel):
        def recv(self, nbytes: int, /) -> bytes:
            return b"." * nbytes

    with pytest.raises(HostUnreachable, match="did not open the console within"):
        join(TalkingChannel(b""), Visit("s", "l", "p", "m", "alice"), HOST)


def test_words_of_a_worker_are_bounded() -> None:
    visit, channel, _ = joined(
        b"\n" + b"0" * 24 + b" ready\n", b"x" * 1_000_000 + b"\n" + b"0" * 24 + b" taken bob 1\n"
    )
    assert visit.end_reason()[0] is EndReason.TAKEN
    assert len(visit._words) <= 4096
    visit.close()
    assert channel.closed


def test_a_connection_that_is_lost_says_nothing() -> None:
    assert joined(b"\n" + b"0" * 24 + b" ready\n")[0].end_reason() == (EndReason.LOST, None)

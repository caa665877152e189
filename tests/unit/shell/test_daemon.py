"""The scripts that start, find and stop processes, run by a real shell on real processes."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest

from lab.errors import wait_until
from shell import daemon

MARK = "slice1000-vm1001"
SLEEPER = ("python3", "-c", "import time; time.sleep(60)", "-name", MARK)
_IGNORING = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
STUBBORN = ("python3", "-c", _IGNORING, "-name", MARK)
"""A program that prints a line once it ignores SIGTERM."""


def run(argv: daemon.Argv) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def seen_off() -> Iterator[None]:
    """Reap orphans at once, like the first process of a real host.

    That of a container may take seconds, and an ended orphan would exist for that time.
    """
    over = threading.Event()

    def see_off() -> None:
        while not over.wait(0.01):
            for children in Path("/proc/self/task").glob("*/children"):
                with suppress(OSError):  # a thread or a child that is gone
                    for child in map(int, children.read_text().split()):
                        if os.getsid(child) != os.getsid(0):
                            os.waitpid(child, os.WNOHANG)

    libc, thread = ctypes.CDLL(None), threading.Thread(target=see_off)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    thread.start()
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0)
        over.set()
        thread.join()


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "vm.pid"
    yield path
    if path.exists() and path.read_text().strip():
        run(stop(path))


def stop(pid_file: Path, signal: Literal["TERM", "KILL"] = "KILL") -> daemon.Argv:
    return daemon.stop(signal, (str(pid_file), MARK))


def starting(pid_file: Path, argv: daemon.Argv, log: Path | None = None, **words: Any) -> daemon.Argv:
    """Return the start of a process whose output goes to the file with the suffix `.said` next to the pid file."""
    said = str(pid_file.with_suffix(".said"))
    return daemon.start((str(pid_file), MARK), said, str(log or pid_file.with_suffix(".log")), argv, **words)


def start(pid_file: Path, argv: daemon.Argv = SLEEPER) -> int:
    done = run(starting(pid_file, argv))
    assert (done.returncode, done.stdout) == (0, f"{pid_file.stem}\n"), done.stderr
    return int(pid_file.read_text())


def is_running(pid_file: Path, mark: str = MARK) -> bool:
    return run(daemon.is_running(str(pid_file), mark)).returncode == 0


def test_a_started_process_is_found_by_pid_file_and_mark_from_the_first_moment_on(pid_file: Path) -> None:
    start(pid_file)
    assert is_running(pid_file)
    assert not is_running(pid_file, "slice1000-vm100")
    assert not is_running(pid_file, MARK + "0")


@pytest.mark.parametrize("name", ["-n", "-e", "--"])
def test_a_vm_keeps_its_name_that_is_an_option_to_echo(tmp_path: Path, name: str) -> None:
    pid_file = tmp_path / f"{name}.pid"
    start(pid_file)
    assert run(stop(pid_file)).returncode == 0


def test_a_stopped_process_is_gone_when_stop_returns_and_stopping_again_is_no_error(pid_file: Path) -> None:
    pid = start(pid_file)
    assert run(stop(pid_file, "TERM")).returncode == 0
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    assert run(stop(pid_file, "TERM")).returncode == 0


@pytest.mark.long
def test_a_process_that_ignores_term_is_killed(pid_file: Path) -> None:
    start(pid_file, STUBBORN)
    _first_words(pid_file)
    assert run(stop(pid_file, "TERM")).returncode == 0
    assert not is_running(pid_file)


@pytest.mark.long
def test_all_are_signalled_before_the_first_wait_and_the_rest_is_killed(tmp_path: Path) -> None:
    programs = {"one": SLEEPER, "two": STUBBORN, "three": SLEEPER}
    paths = {name: tmp_path / f"{name}.pid" for name in (*programs, "never")}
    for name, program in programs.items():
        start(paths[name], program)
    _first_words(paths["two"])
    done = run(daemon.stop("TERM", *((str(path), MARK) for path in paths.values())))
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(is_running(path) for path in paths.values())


@pytest.mark.long
def test_one_that_does_not_end_is_named(pid_file: Path) -> None:
    """Use an ended process that its parent has not reaped: until then it exists, like one that hangs."""
    with subprocess.Popen(["sleep", "60"]) as child:
        pid_file.write_text(f"{child.pid}\n")
        done = run(daemon.stop("KILL", (str(pid_file), "60")))
        assert (done.returncode, done.stderr) == (1, f"process {child.pid} does not end\n")
    pid_file.unlink()


@pytest.mark.long
def test_a_process_that_took_the_pid_of_one_that_ended_is_not_killed(pid_file: Path) -> None:
    """Let the signalled process become another program, as if its pid had been reused."""
    other = "import os; os.execvp('sleep', ['sleep', '60'])"
    become = f"import signal, time; signal.signal(15, lambda *_: exec({other!r})); print('ready', flush=True)"
    pid = start(pid_file, ("python3", "-c", f"{become}; time.sleep(60)", "-name", MARK))
    _first_words(pid_file)
    try:
        done = run(stop(pid_file, "TERM"))
        assert (done.returncode, done.stderr) == (0, "")
        assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x0060\x00"
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.long
def test_a_process_that_is_on_its_way_out_for_long_is_not_taken_for_one_that_is_gone(pid_file: Path) -> None:
    """End its first thread, which empties its command line; the others may hold files and devices."""
    end = "ctypes.CDLL(None).syscall(60, 0)"  # _exit(2) of this thread alone, on x86-64
    thread = "threading.Thread(target=time.sleep, args=(60,)).start()"
    program = f"import ctypes, signal, threading, time; {thread}; signal.signal(15, lambda *_: {end})"
    pid = start(pid_file, ("python3", "-c", f"{program}; print('ready', flush=True); signal.pause()", "-name", MARK))
    _first_words(pid_file)
    done = run(stop(pid_file, "TERM"))
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(f"/proc/{pid}").exists()


def _first_words(pid_file: Path) -> str:
    """Return the output of a process, whose file may appear after its pid is known."""
    said = pid_file.with_suffix(".said")
    wait_until(lambda: said.exists() and said.read_text().endswith("\n"), 10, "the first words")
    return said.read_text()


def test_a_foreign_process_is_not_touched(pid_file: Path) -> None:
    """Put the pid of a foreign process into our file, as after a reboot: its command line lacks our mark."""
    with subprocess.Popen(["sleep", "60"]) as other:
        pid_file.write_text(f"{other.pid}\n")
        assert run(stop(pid_file)).returncode == 0
        assert other.poll() is None
        os.kill(other.pid, signal.SIGKILL)
    pid_file.unlink()


def test_a_process_whose_pid_cannot_be_written_down_does_not_live(tmp_path: Path) -> None:
    beacon = tmp_path / "alive"
    late = f"import pathlib, time; time.sleep(0.5); pathlib.Path({str(beacon)!r}).touch()"
    log = str(tmp_path / "log")
    done = run(daemon.start((str(tmp_path / "gone" / "vm.pid"), MARK), log, log, ("python3", "-c", late)))
    assert (done.returncode, done.stdout) == (1, "")
    assert "gone/vm.pid" in done.stderr
    time.sleep(1)
    assert not beacon.exists()


def test_a_port_is_awaited_and_the_pid_printed(pid_file: Path) -> None:
    serve = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True);"
    pid = start(pid_file, ("python3", "-c", f"{serve} time.sleep(60)", "-name", MARK))
    server = daemon.ListeningProcess(
        str(pid_file), MARK, int(_first_words(pid_file)), str(pid_file.with_suffix(".said")), "1001"
    )
    done = run(daemon.await_ports([server]))
    assert (done.returncode, done.stdout) == (0, f"1001 {pid}\n")


def test_a_process_that_ends_at_once_is_reported_with_its_last_words(pid_file: Path) -> None:
    start(pid_file, ("python3", "-c", "import sys; sys.exit('no memory')", "-name", MARK))
    said = str(pid_file.with_suffix(".said"))
    done = run(daemon.await_ports([daemon.ListeningProcess(str(pid_file), MARK, 1, said, "1001")]))
    assert (done.returncode, done.stderr) == (1, "vm ended at once: no memory\n")


# --- what a guest could make grow -------------------------------------------------------------------------------------

_TALKER = f"""import os, sys, time
log, told = open({daemon.LOG_DEVICE!r}, "wb", buffering=0), 0
for stream in (log, sys.stdout.buffer):
    try:
        for number in range(30000): stream.write(b"%99d\\n" % number); stream.flush()
    except OSError: told += 1
os.close(1)
open(sys.argv[1], "w").write(f"refused {{told}}")
time.sleep(60)"""


def test_logs_end_at_their_bounds_and_the_program_goes_on(pid_file: Path, tmp_path: Path) -> None:
    messages, log, done = tmp_path / "vm.said", tmp_path / "vm.log", tmp_path / "done"
    start(pid_file, ("python3", "-c", _TALKER, str(done), "-name", MARK))
    wait_until(lambda: done.exists() and done.read_text() == "refused 0", 20, "the end of its words")
    assert is_running(pid_file)
    old, end = tmp_path / "vm.log-old", tmp_path / "vm.log-end"
    wait_until(lambda: end.exists() and end.read_bytes().endswith(b" 29999\n"), 20, "the end of the log")
    assert (messages.stat().st_size, log.stat().st_size, old.stat().st_size) == (1 << 16, 1 << 19, 1 << 18)
    assert {path.name for path in tmp_path.iterdir()} == {"vm.pid", "vm.said", "vm.log", "done", old.name, end.name}
    assert log.read_bytes().split()[:2] == [b"0", b"1"]
    numbers = [int(word) for word in (old.read_bytes() + end.read_bytes()).split()[1:]]
    assert numbers == list(range(numbers[0], 30000)), "no byte is lost between two files"
    start(pid_file)
    wait_until(lambda: not end.exists(), 10, "the end of the log of before")


def test_a_log_that_cannot_be_kept_ends_nothing(pid_file: Path, tmp_path: Path) -> None:
    """Let a folder have the name of the log."""
    done = tmp_path / "done"
    for name in ("vm.log", "vm.log-end"):
        (tmp_path / name).mkdir()
    start(pid_file, ("python3", "-c", _TALKER, str(done), "-name", MARK))
    wait_until(lambda: done.exists() and done.read_text() == "refused 0", 20, "the end of its words")
    assert is_running(pid_file)


def test_the_writers_of_logs_end_with_the_program(pid_file: Path, tmp_path: Path) -> None:
    messages, log = tmp_path / "vm.said", tmp_path / "vm.log"
    start(pid_file)
    _await_writers(2, messages, log)
    run(stop(pid_file))
    _await_writers(0, messages, log)


def _await_writers(count: int, *files: Path) -> None:
    wait_until(lambda: len(_writers_of(*files)) == count, 10, f"{count} who write there")


def _writers_of(*files: Path) -> set[str]:
    """Return the processes that have one of the files open."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if {path.readlink() for path in (process / "fd").iterdir()} & set(files):
                found.add(process.name)
        except OSError:
            continue
    return found


# --- what it costs ----------------------------------------------------------------------------------------------------


EACH = ["awk", "head", "setsid", "sh", "sh", "stdbuf", "tee"]
"""The programs that each start runs; stdbuf becomes head, in the same process."""

PROGRAMS = "awk cat cut grep head ls mkfifo rm sed seq setsid sh sleep sort stat stdbuf tail taskset tee timeout tr"


class Counted:
    """A runner of scripts in which each started program leaves its name."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._log = folder / "bin", folder / "started"
        self._folder.mkdir()
        for name in PROGRAMS.split():
            script = f'#!/bin/sh\necho {name} >>{self._log}\nexec {shutil.which(name)} "$@"\n'
            (self._folder / name).write_text(script)
            (self._folder / name).chmod(0o700)

    def run(self, argv: daemon.Argv) -> None:
        self._log.write_text("")
        environment = {**os.environ, "PATH": f"{self._folder}:{os.environ['PATH']}"}
        done = subprocess.run(["/bin/sh", *argv[1:]], env=environment, capture_output=True, check=False, timeout=30)
        assert (done.returncode, done.stderr) == (0, b"")

    @property
    def started(self) -> list[str]:
        """The names so far: a program in the background writes its own when it comes to that."""
        return sorted(self._log.read_text().split())

    @property
    def unbound(self) -> list[str]:
        """The names without the program that binds others to a CPU."""
        return [name for name in self.started if name != "taskset"]


def test_the_next_one_costs_as_few_processes_as_the_first(tmp_path: Path) -> None:
    """Start it with any number of running processes."""
    counted, paths = Counted(tmp_path), [tmp_path / f"slice-{number}" / "vm.pid" for number in range(5)]
    try:
        for path in paths:
            path.parent.mkdir()
            counted.run(starting(path, SLEEPER, cores=1))
            _await_writers(2, path.with_suffix(".said"), path.with_suffix(".log"))
            wait_until(lambda: len(counted.unbound) >= len(EACH), 10, "the names of all programs")
            assert counted.unbound == EACH
            assert counted.started.count("taskset") <= 1, "none where there is one CPU only"
    finally:
        run(daemon.stop("KILL", *((str(path), MARK) for path in paths)))


@pytest.mark.long
def test_a_slow_end_costs_no_further_process(tmp_path: Path) -> None:
    counted, costs = Counted(tmp_path), []
    for name, seconds in (("soon", 0.5), ("late", 1.5)):
        slow = f"import signal, time; signal.signal(15, lambda *_: (time.sleep({seconds}), exit()))"
        pid_file = tmp_path / f"{name}.pid"
        start(pid_file, ("python3", "-c", f"{slow}; print('ready', flush=True); signal.pause()", "-name", MARK))
        _first_words(pid_file)
        counted.run(stop(pid_file, "TERM"))
        costs.append(counted.started)
    assert costs == [["grep", "sh", "tail", "timeout"]] * 2


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU only")
def test_the_first_vms_of_two_workers_on_one_machine_do_not_share_a_cpu(tmp_path: Path) -> None:
    seen = []
    for number in (1001, 1002):
        pid_file = tmp_path / f"worker-{number}" / "slice-1000" / "vm.pid"
        pid_file.parent.mkdir(parents=True)
        mark = (str(pid_file), f"slice1000-vm{number}")
        words = (str(pid_file.with_suffix(".said")), str(pid_file.with_suffix(".log")), SLEEPER)
        try:
            assert run(daemon.start(mark, *words, cores=1)).returncode == 0
            seen.append(os.sched_getaffinity(int(pid_file.read_text())))
        finally:
            run(daemon.stop("KILL", mark))
    assert seen[0].isdisjoint(seen[1])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU only")
def test_processes_are_spread_over_the_cpus_each_on_as_many_as_it_has_cores(tmp_path: Path) -> None:
    cpus = os.sched_getaffinity(0)
    seen: list[set[int]] = []
    try:
        for number in range(len(cpus)):
            folder = tmp_path / f"slice-{number}"
            folder.mkdir()
            pid_file = folder / "vm.pid"
            assert run(starting(pid_file, SLEEPER, cores=1)).returncode == 0
            seen.append(os.sched_getaffinity(int(pid_file.read_text())))
        assert set.union(*seen) == cpus, "each has one of its own"
        everywhere = tmp_path / "slice-0" / "all.pid"
        run(starting(everywhere, SLEEPER, cores=len(cpus)))
        assert os.sched_getaffinity(int(everywhere.read_text())) == cpus
    finally:
        for path in tmp_path.glob("*/*.pid"):
            run(stop(path))

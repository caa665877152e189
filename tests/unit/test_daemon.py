"""The scripts that start, find and stop processes, run by a real shell on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote import daemon

MARK = "slice1000-vm1001"
SLEEPER = ("python3", "-c", "import time; time.sleep(60)", "-name", MARK)


def run(argv: daemon.Argv) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "vm.pid"
    yield path
    if path.exists() and path.read_text().strip():
        run(daemon.stop(str(path), MARK, "KILL"))


def start(pid_file: Path, argv: daemon.Argv = SLEEPER) -> int:
    done = run(daemon.start(str(pid_file), str(pid_file.with_suffix(".log")), argv))
    assert done.returncode == 0, done.stderr
    return int(pid_file.read_text())


def is_running(pid_file: Path, mark: str = MARK) -> bool:
    return run(daemon.is_running(str(pid_file), mark)).returncode == 0


def test_a_started_process_is_found_by_pid_file_and_mark_from_the_first_moment_on(pid_file: Path) -> None:
    start(pid_file)
    assert is_running(pid_file)
    assert not is_running(pid_file, "slice1000-vm100")
    assert not is_running(pid_file, MARK + "0")


def test_a_stopped_process_is_gone_when_stop_returns_and_stopping_again_is_no_error(pid_file: Path) -> None:
    pid = start(pid_file)
    assert run(daemon.stop(str(pid_file), MARK, "TERM")).returncode == 0
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    assert run(daemon.stop(str(pid_file), MARK, "TERM")).returncode == 0


def test_a_process_that_ignores_term_is_killed(pid_file: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    start(pid_file, ("python3", "-c", stubborn, "-name", MARK))
    log, deadline = pid_file.with_suffix(".log"), time.monotonic() + 10
    while "ready" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert run(daemon.stop(str(pid_file), MARK, "TERM")).returncode == 0
    assert not is_running(pid_file)


def test_a_process_of_somebody_else_is_not_touched(pid_file: Path) -> None:
    """Its pid is in our file, as after a reboot, but its command line does not say that it is ours."""
    with subprocess.Popen(["sleep", "60"]) as other:
        pid_file.write_text(str(other.pid))
        assert run(daemon.stop(str(pid_file), MARK, "KILL")).returncode == 0
        assert other.poll() is None
        os.kill(other.pid, signal.SIGKILL)
    pid_file.unlink()


def test_a_process_whose_pid_cannot_be_written_down_does_not_live(tmp_path: Path) -> None:
    beacon = tmp_path / "alive"
    late = f"import pathlib, time; time.sleep(0.5); pathlib.Path({str(beacon)!r}).touch()"
    done = run(daemon.start("/dev/full", str(tmp_path / "log"), ("python3", "-c", late)))
    assert done.returncode == 1
    time.sleep(1)
    assert not beacon.exists()


def test_a_port_is_awaited_and_the_pid_told(pid_file: Path) -> None:
    serve = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True);"
    pid = start(pid_file, ("python3", "-c", f"{serve} time.sleep(60)", "-name", MARK))
    log, deadline = pid_file.with_suffix(".log"), time.monotonic() + 10
    while not log.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    done = run(daemon.await_port(str(pid_file), MARK, int(log.read_text()), str(log), "1001"))
    assert (done.returncode, done.stdout) == (0, f"1001 {pid}\n")


def test_a_process_that_ends_at_once_is_told_with_its_last_words(pid_file: Path) -> None:
    start(pid_file, ("python3", "-c", "import sys; sys.exit('no memory')", "-name", MARK))
    log = str(pid_file.with_suffix(".log"))
    done = run(daemon.await_port(str(pid_file), MARK, 1, log, "1001"))
    assert (done.returncode, done.stderr) == (1, "ended at once: no memory\n")


def test_what_does_not_run_is_said_to_be_so(tmp_path: Path) -> None:
    done = run(daemon.expect_running(str(tmp_path / "none"), MARK))
    assert (done.returncode, done.stderr) == (1, "it does not run\n")


def test_nobody_wants_it_where_its_folder_is_gone(pid_file: Path, tmp_path: Path) -> None:
    argv = daemon.is_running_or_unwanted(str(pid_file), MARK, str(tmp_path / "gone"))
    assert run(argv).returncode == 0
    assert run(daemon.is_running_or_unwanted(str(pid_file), MARK, str(tmp_path))).returncode == 1

"""Dialogs with QEMU: the real script and socat, at sockets that are served like QEMU's, and at one of QEMU itself."""

from __future__ import annotations

import json
import os
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
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadAnswer
from core.names import VMFiles
from lab.errors import wait_until
from machines import qmp
from machines.qmp import Dialog, DialogEnd, Monitor

SECONDS = 20
"""Longer than any dialog below takes on a busy machine."""

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")
SERVER = """
import json, os, socket, sys, time
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(1)
print("up", flush=True)
def serve(client):
    lines = client.makefile("rw", newline="")
    def say(text): lines.write(text + "\\r\\n"); lines.flush()
    def happen(): say('{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}')
    say('{"QMP": {"version": {}, "capabilities": ["oob"]}}')
    for line in lines:
        asked = json.loads(line)
        happen()
        match asked["execute"]:
            case "sleep": time.sleep(asked["arguments"]["seconds"]); say('{"return": {}}')
            case "fail": say('{"error": {"class": "GenericError", "desc": "it can\\'t, \\\\"really\\\\""}}')
            case "swapped": say('{"error": {"desc": "no such thing", "class": "DeviceNotFound"}}')
            case "end": os._exit(0)
            case "long": say(json.dumps({"return": "x" * 4000}))
            case "query-status": say('{"return": {"status": "prelaunch", "singlestep": false, "running": false}}')
            case name: say(json.dumps({"return": {"did": name}}))
        happen()
while True:
    client, _ = server.accept()
    try: serve(client)
    except OSError: pass  # the client left before the last event
    client.close()
"""


class Machines:
    """VMs whose processes serve a QMP socket each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def begin(self, name: str, program: tuple[str, ...]) -> Monitor:
        """Start a program that prints a line once it serves."""
        monitor = self.monitor(name)
        argv = (*program, "-name", monitor.mark, "-qmp", f"unix:{monitor.socket},server=on,wait=off")
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self._processes.append(process)
        Path(monitor.pid_file).write_text(f"{process.pid}\n")
        return monitor

    def serve(self, name: str) -> Monitor:
        monitor = self.begin(name, (sys.executable, "-c", SERVER, self.monitor(name).socket))
        output = self._processes[-1].stdout
        assert output
        assert output.readline() == b"up\n"
        return monitor

    def monitor(self, name: str) -> Monitor:
        files = VMFiles(str(self._folder), 7, name)
        Path(files.folder).mkdir(exist_ok=True)
        return Monitor(files.pid_file, f"slice7-{name}", files.qmp)

    def reap(self) -> None:
        """Wait for the last process: one that has ended exists until its parent has seen that."""
        self._processes[-1].wait()

    def close(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.communicate()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Machines]:
    assert shutil.which("socat"), "socat is not installed (apt-get install socat)"
    worker = Machines(tmp_path)
    try:
        yield worker
    finally:
        worker.close()


def ask(*dialogs: tuple[Monitor, list[str]], seconds: int = SECONDS) -> tuple[int, dict[str, Dialog], str]:
    """Return the status, the dialogs and the sentences."""
    argv = qmp.ask(dialogs, seconds)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, qmp.parse(done.stdout), done.stderr


def test_each_command_is_answered_and_events_are_skipped(worker: Machines) -> None:
    one, two = worker.serve("one"), worker.serve("two")
    status, dialogs, said = ask((one, [qmp.command("a"), qmp.command("b")]), (two, [qmp.command("c")]))
    assert (status, said) == (0, "")
    assert dialogs == {"one": Dialog(({"did": "a"}, {"did": "b"})), "two": Dialog(({"did": "c"},))}


def test_dialogs_are_side_by_side_and_long_answers_whole(worker: Machines) -> None:
    monitors = [worker.serve(f"vm{number}") for number in range(6)]
    asked = [qmp.command("sleep", seconds=0.5), *[qmp.command("long")] * 20]
    began = time.monotonic()
    status, dialogs, _ = ask(*((monitor, asked) for monitor in monitors))
    assert time.monotonic() - began < 0.5 * len(monitors)
    assert status == 0
    assert {name: dialog.answers for name, dialog in dialogs.items()} == {
        f"vm{number}": ({}, *["x" * 4000] * 20) for number in range(6)
    }


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("fail", 'GenericError: it can\'t, "really"', 'GenericError: it can\'t, \\"really\\"'),
        ("swapped", "DeviceNotFound: no such thing", "DeviceNotFound: no such thing"),
    ],
)
def test_an_error_of_qemu_ends_its_dialog_and_is_quoted(worker: Machines, name: str, error: str, said: str) -> None:
    one, two = worker.serve("one"), worker.serve("two")
    status, dialogs, sentence = ask((one, [qmp.command("a"), qmp.command(name), qmp.command("b")]), (two, []))
    assert (status, sentence) == (1, f"one: QEMU says {said}\n")
    assert dialogs == {"one": Dialog(({"did": "a"},), DialogEnd.ERROR, error)}


@pytest.mark.long
def test_a_vm_that_does_not_answer_in_time_stops_no_other(worker: Machines) -> None:
    one, two = worker.serve("one"), worker.serve("two")
    status, dialogs, said = ask(
        (one, [qmp.command("a"), qmp.command("sleep", seconds=30)]), (two, [qmp.command("b")]), seconds=2
    )
    assert (status, said) == (qmp.UNKNOWN, "QEMU of one did not answer in time; it may still do what it was told\n")
    assert dialogs == {"one": Dialog(({"did": "a"},), DialogEnd.LATE), "two": Dialog(({"did": "b"},))}


def test_a_qemu_that_stands_still_is_late(worker: Machines) -> None:
    one = worker.serve("one")
    os.kill(int(Path(one.pid_file).read_text()), signal.SIGSTOP)
    status, dialogs, _ = ask((one, [qmp.command("a")]), seconds=1)
    assert (status, dialogs) == (qmp.UNKNOWN, {"one": Dialog((), DialogEnd.LATE)})


def test_a_qemu_that_ends_in_the_dialog_is_told_from_one_that_refuses(worker: Machines) -> None:
    status, dialogs, said = ask((worker.serve("one"), [qmp.command("end"), qmp.command("a")]))
    assert (status, said) == (qmp.UNKNOWN, "QEMU of one ended before it answered\n")
    assert dialogs == {"one": Dialog((), DialogEnd.ENDED)}


def test_a_vm_that_does_not_run_or_is_another_is_not_spoken_to(worker: Machines) -> None:
    other = worker.serve("other")
    never = worker.monitor("never")
    foreign = other._replace(mark="slice8-vm1")
    status, dialogs, said = ask((never, [qmp.command("a")]), (foreign, [qmp.command("a")]))
    assert (status, said) == (1, "never does not run\nother does not run\n")
    assert dialogs == {"never": Dialog((), DialogEnd.OFF), "other": Dialog((), DialogEnd.OFF)}


def test_a_vm_without_a_socket_is_closed_or_of_an_older_version(worker: Machines) -> None:
    closed = worker.begin("closed", SLEEPER)
    older = worker.monitor("older")
    with subprocess.Popen([*SLEEPER, older.mark]) as process:
        Path(older.pid_file).write_text(f"{process.pid}\n")
        status, dialogs, said = ask((closed, [qmp.command("a")]), (older, [qmp.command("a")]))
        process.kill()
    assert status == 1
    assert said.splitlines() == [
        f"QEMU of closed accepts no connection at {closed.socket}",
        "older was started by an older version, whose QEMU cannot be asked; restart it once",
    ]
    assert dialogs == {"closed": Dialog((), DialogEnd.CLOSED), "older": Dialog((), DialogEnd.OLDER)}


def test_one_client_at_a_time_is_served(worker: Machines) -> None:
    one = worker.serve("one")
    argv = qmp.ask([(one, [qmp.command("sleep", seconds=1)])], SECONDS)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as first:
        wait_until(lambda: first.poll() is None, 5, "the first client")
        assert ask((one, [qmp.command("a")]))[1] == {"one": Dialog(({"did": "a"},))}
        assert first.stdout
        assert qmp.parse(first.stdout.read()) == {"one": Dialog(({},))}


# --- QEMU itself ------------------------------------------------------------------------------------------------------


@pytest.fixture
def real(worker: Machines) -> Monitor:
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("qemu-system-x86_64 is not installed")
    program = ("qemu-system-x86_64", "-no-user-config", "-nodefaults", "-machine", "none", "-display", "none", "-S")
    monitor = worker.begin("vm", program)
    wait_until(Path(monitor.socket).exists, 20, "the socket of QEMU")
    return monitor


def test_qemu_begins_paused_and_runs_when_it_is_told(real: Monitor) -> None:
    status = qmp.command("query-status")
    _, dialogs, said = ask((real, [status, qmp.command("cont"), status]))
    assert said == ""
    before, done, after = dialogs["vm"].answers
    assert (before["status"], done, after["status"]) == ("prelaunch", {}, "running")


def test_an_error_of_qemu_itself_is_read(real: Monitor) -> None:
    status, dialogs, said = ask((real, [qmp.command("set_link", name="nic1", up=False)]))
    assert (status, said) == (1, "vm: QEMU says DeviceNotFound: Device 'nic1' not found\n")
    assert dialogs == {"vm": Dialog((), DialogEnd.ERROR, "DeviceNotFound: Device 'nic1' not found")}


def test_quit_is_answered_before_qemu_ends(real: Monitor) -> None:
    assert ask((real, [qmp.command("quit")])) == (0, {"vm": Dialog(({},))}, "")


# --- the start of guests ----------------------------------------------------------------------------------------------


def let_run(*vms: tuple[Monitor, dict[str, bool]]) -> tuple[int, str, str]:
    argv = qmp.let_run((monitor, f"{monitor.pid_file}.said", links) for monitor, links in vms)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


QEMU = ("qemu-system-x86_64", "-no-user-config", "-nodefaults", "-machine", "none", "-display", "none", "-S")
WIRED = (*QEMU, "-netdev", "hubport,id=nic0,hubid=0", "-netdev", "hubport,id=nic1,hubid=0")


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is not installed")
def test_guests_run_once_their_links_are_set(worker: Machines) -> None:
    """Begin at once, before QEMU has made its socket."""
    vms = [worker.begin(name, WIRED) for name in ("one", "two", "three")]
    links = {"nic0": True, "nic1": False}
    status, said, complaints = let_run(*((vm, links) for vm in vms))
    assert (status, sorted(said.split()), complaints) == (0, ["one", "three", "two"], ""), "side by side, in any order"
    assert let_run(*((vm, links) for vm in vms)) == (0, "", ""), "they run already"
    _, dialogs, _ = ask(*((vm, [qmp.command("query-status")]) for vm in vms))
    assert [dialog.answers[0]["status"] for dialog in dialogs.values()] == ["running"] * 3


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is not installed")
def test_a_guest_whose_link_cannot_be_set_does_not_run(worker: Machines) -> None:
    vm = worker.begin("one", WIRED)
    assert let_run((vm, {"nic0": False, "nic7": False})) == (
        1,
        "",
        "one: QEMU says DeviceNotFound: Device 'nic7' not found\n",
    )
    _, dialogs, _ = ask((vm, [qmp.command("query-status")]))
    assert dialogs["one"].answers[0]["status"] == "prelaunch"


def test_a_qemu_that_ends_at_once_is_reported_with_its_last_words(worker: Machines) -> None:
    vm = worker.begin("one", (sys.executable, "-c", "import time; time.sleep(0.3)"))
    Path(f"{vm.pid_file}.said").write_text("qemu: no memory\n")
    worker.reap()
    assert let_run((vm, {})) == (1, "", "one ended at once: qemu: no memory\n")


def test_a_stale_socket_is_not_taken_for_that_of_a_qemu_that_starts(worker: Machines) -> None:
    vm = worker.monitor("one")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(vm.socket)
    late = f"import os, sys, time; time.sleep(0.5); os.unlink(sys.argv[1])\n{SERVER}"
    argv = qmp.let_run([(worker.begin("one", (sys.executable, "-c", late, vm.socket)), "said", {})])
    assert subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60).stdout == "one\n"


def test_a_vm_of_an_older_version_is_left_alone(worker: Machines) -> None:
    older, new = worker.monitor("older"), worker.serve("new")
    with subprocess.Popen([*SLEEPER, older.mark]) as process:
        Path(older.pid_file).write_text(f"{process.pid}\n")
        assert let_run((older, {"nic0": True}), (new, {"nic0": True})) == (0, "new\n", "")
        process.kill()


def test_a_qemu_that_never_serves_is_given_up(worker: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "START_SECONDS", 1)
    assert let_run((worker.begin("one", SLEEPER), {})) == (1, "", "QEMU of one did not answer in time\n")


def test_a_search_that_the_deadline_ends_finds_no_older_version(
    worker: Machines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """timeout(1) ends the programs of the shell as well: one that is ended at once stands for that moment."""
    monkeypatch.setattr(qmp, "START_SECONDS", 1)
    grep = tmp_path / "grep"
    search = f'case "$*" in *unix:*) kill -TERM $$;; *) exec {shutil.which("grep")} "$@";; esac'
    grep.write_text(f"#!/bin/sh\n{search}\n")
    grep.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert let_run((worker.begin("one", SLEEPER), {})) == (1, "", "QEMU of one did not answer in time\n")


# --- commands and answers as text -------------------------------------------------------------------------------------


def test_a_command_is_a_line_of_json() -> None:
    line = qmp.command("blockdev-snapshot-internal-sync", device="disk", name="a\nb")
    assert "\n" not in line
    assert json.loads(line) == {
        "execute": "blockdev-snapshot-internal-sync",
        "arguments": {"device": "disk", "name": "a\nb"},
    }
    assert json.loads(qmp.command("x", node_name="a")) == {"execute": "x", "arguments": {"node-name": "a"}}


@pytest.mark.parametrize(
    "said",
    ["vm what", "vm", 'vm {"event": 1}', 'vm {"return"', 'vm {"error": 1}', 'vm {"error": {"class": "x"}}',
     'vm late\nvm {"return": {}}', 'vm {"error": {"class": "a", "desc": "b"}}\nvm late', f"vm {'{' * 100000}"],
)  # fmt: skip
def test_what_makes_no_sense_is_no_answer(said: str) -> None:
    with pytest.raises(BadAnswer):
        qmp.parse(said)


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(BadAnswer):
        qmp.parse(text)

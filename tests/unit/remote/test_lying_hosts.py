"""Hosts with endless or impossible answers: over a real connection, in bounded time and memory."""

from __future__ import annotations

import re
import shlex
import sys
import time
import tracemalloc
from copy import deepcopy
from pathlib import Path

import pytest

from core.errors import LONGEST_WORDS, CloudError, CommandFailed, HostUnreachable, InvalidAnswer
from core.status import SliceStatus
from remote import ssh, transcript
from remote.openssh import Copy
from remote.plan import Command, Step, Upload
from remote.transcript import Outcome
from tests.support import fake_facts, liar
from tests.support.desk import WORKERS, Desk
from tests.support.fake_hosts import SCRIPTS, FakeHost
from tests.support.loopback import LoopbackHost
from vm_launcher import PORT_TAKEN

BEGIN = "{mark} 0 begin\\n"


def lie(host: LoopbackHost, answer: str) -> None:
    host.sudo = f"exec {sys.executable} {liar.__file__} {shlex.quote(answer)}"


def failure(client: ssh.SSHHost, *commands: Command, deadline: float = 600.0) -> CloudError:
    steps = [Step("127.0.0.1", "a step", commands or (Command(("true",)), Command(("true",))))]
    with pytest.raises(CloudError) as caught:
        list(client.run(steps, timeout=min(deadline, 60.0), deadline=deadline))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < LONGEST_WORDS + 100
    return caught.value


@pytest.mark.parametrize("answer", ["{drip}", f"{BEGIN}{{drip}}", f"{BEGIN}{{mark}} 1 0\\n{{drip}}"])
def test_a_byte_now_and_then_does_not_move_the_deadline(host: LoopbackHost, client: ssh.SSHHost, answer: str) -> None:
    lie(host, answer)
    began = time.monotonic()
    error = failure(client, deadline=1.5)
    assert 1.4 < time.monotonic() - began < 4
    assert isinstance(error, HostUnreachable)
    assert re.search(
        r"kept sending output and was not done within 2 s|silent for|started no shell within 1.5 s", str(error)
    )
    assert not client._is_connected


@pytest.mark.parametrize("answer", ["{flood}", f"{BEGIN}{{flood}}"])
def test_an_answer_without_an_end_is_not_kept(
    host: LoopbackHost, client: ssh.SSHHost, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "ANSWER_BYTES", 4 << 20)
    lie(host, answer)
    tracemalloc.start()
    try:
        error = failure(client)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()
    assert isinstance(error, InvalidAnswer)
    assert str(error) == "127.0.0.1 gives an invalid answer: it sends more than 4 MiB for one batch"


@pytest.mark.parametrize(
    ("marks", "why"),
    [
        ("0 begin;3 0", "it ended a batch before its last command"),
        ("0 begin;3 100", "it ended a batch before its last command"),
        ("0 begin;1 0;3 0", "it ended a batch before its last command"),
        ("0 begin;2 0;3 0", "it marks command 2 with 0"),
        ("0 begin;1 0;1 0", "it marks command 1 with 0"),
        ("0 begin;1 0;99 0", "it marks command 99 with 0"),
        ("0 begin;1 256", "it marks command 1 with 256"),
        ("0 begin;1 skipped", "it marks command 1 with skipped"),
        ("0 begin;1 wanted", "it marks command 1 with wanted"),
        ("0 begin;1 1;2 0;3 0", "it continues after a command that failed"),
        ("1 0;2 0;3 0", "it marks command 1 with 0"),
        ("0 0", "it marks command 0 with 0"),
        ("0 begin;1 \u0661", "a mark in it makes no sense"),
        ("0 begin;9999999999999 0", "a mark in it makes no sense"),
        ("0 begin;" + "1" * 40, "a mark in it makes no sense"),
    ],
)
def test_marks_that_no_batch_makes(host: LoopbackHost, client: ssh.SSHHost, marks: str, why: str) -> None:
    lie(host, "".join(f"{{mark}} {mark}\\n" for mark in marks.split(";")))
    error = failure(client)
    assert isinstance(error, InvalidAnswer)
    assert error.reason == why
    assert error.begun


def test_a_host_with_an_invalid_answer_is_used_again_after_a_valid_one(host: LoopbackHost, client: ssh.SSHHost) -> None:
    lie(host, f"{BEGIN}{{mark}} 7 0\\n")
    failure(client)
    host.sudo = "sh -s"
    assert list(client.run([Step("127.0.0.1", "a step", (Command(("echo", "here")),))])) == [Outcome(0, 0, 0, "here\n")]


def test_a_program_s_last_words_are_cut_and_printable(client: ssh.SSHHost) -> None:
    script = "printf '\\033]0;mine\\007\\033[2J'; head -c 5000000 /dev/zero | tr '\\0' w"
    (outcome,) = client.run([Step("127.0.0.1", "a step", (Command(("sh", "-c", f"{{ {script}; }} >&2; exit 3")),))])
    assert isinstance(outcome, Outcome)
    said = str(CommandFailed("127.0.0.1", "a step", ("sh",), 3, outcome.stderr))
    assert said.isprintable()
    assert len(said) < LONGEST_WORDS + 100


@pytest.mark.long
def test_a_host_that_takes_a_file_byte_by_byte_is_given_up(
    host: LoopbackHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the host only report waiting, as if others brought the same file."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "flock").write_text("#!/bin/sh\nsleep 0.2; exit 1\n")
    (programs / "stat").write_text("#!/bin/sh\ndate +%N\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    host.programs = programs
    (tmp_path / "ssh").mkdir()
    image = tmp_path / "base.img"
    image.write_bytes(b"image")
    monkeypatch.setattr("remote.openssh.SLOWEST_COPY", 5)
    copy = Copy("127.0.0.1", host.settings(tmp_path), Upload(str(image), "./b.img", "./.b.part", ()), 60.0, 1.0)
    began = time.monotonic()
    with pytest.raises(HostUnreachable, match="had not taken the file within 2 s"):
        list(copy.transfer())
    assert time.monotonic() - began < 10


# --- Figures and pids, over fake hosts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("cores 99999999\nmemory 16777216\navailable 1\ndisk 104857600\noverlays 0\nclock {now}\n", "99999999 cores"),
        ("cores 0\nmemory 16777216\navailable 1\ndisk 104857600\noverlays 0\nclock {now}\n", "0 cores"),
        ("cores -4\nmemory 16777216\navailable 1\ndisk 104857600\noverlays 0\nclock {now}\n", "-4 cores"),
        ("cores 4\nmemory 0\navailable 1\ndisk 104857600\noverlays 0\nclock {now}\n", "0 KiB of memory"),
        (
            "cores 4\nmemory 16777216\navailable 1\ndisk 9999999999999999\noverlays 0\nclock {now}\n",
            "9999999999999999 KiB of free disk",
        ),
        (
            "cores 4\nmemory 16777216\navailable 1\ndisk 104857600\noverlays \u0661\nclock {now}\n",
            "\u0661 KiB of disk for VMs",
        ),
        (
            "cores 4\nmemory 16777216\navailable 1\ndisk 104857600\noverlays 0\nclock 99999999999\n",
            "99999999999 seconds of its clock",
        ),
        ("cores \x1b[2J\nmemory 16777216\navailable 1\ndisk 104857600\noverlays 0\nclock {now}\n", "[2J cores"),
        ("9" * 5000 + "\n1\n1\n1\n1\n", "its resources could not be measured"),
        ("", "its resources could not be measured"),
    ],
)
def test_a_worker_that_cannot_be_is_named_and_gets_no_vms(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str, why: str
) -> None:
    whole = FakeHost.measure

    def measure(host: FakeHost, argv: tuple[str, ...], stdin: str) -> tuple[int, str, str]:
        said = answer.replace("{now}", str(int(time.time())))
        return (0, said, "") if host.address == WORKERS[0] else whole(host, argv, stdin)

    monkeypatch.setitem(SCRIPTS, "measure-host.sh", measure)
    workers = desk.ok(desk.api.discover_workers())
    assert workers[WORKERS[0]].problem == f"gives an invalid answer: {why}"
    assert [worker.up for worker in workers.values()] == [False, True]
    slice_ = desk.ok(desk.api.create_slice("student", "lab"))
    vms = [desk.ok(desk.api.add_vm_to_slice("student", slice_.slice_id, f"vm{n}", "cirros")) for n in range(3)]
    assert {vm.worker_ip for vm in vms} == {WORKERS[1]}
    monkeypatch.undo()
    assert all(worker.up for worker in desk.ok(desk.api.discover_workers()).values())


def test_an_error_without_an_end_is_cut_in_the_file(desk: Desk) -> None:
    desk.cloud.hosts[WORKERS[0]].faults["resources"] = (1, "", "\x1b[31m" + "w" * 25_000_000)
    problem = desk.ok(desk.api.discover_workers())[WORKERS[0]].problem
    assert problem.isprintable()
    assert len(problem) < LONGEST_WORDS + 100
    assert desk.path.stat().st_size < 10_000


@pytest.mark.parametrize(
    "lie",
    ["{id} abc\n", "{id} 0\n", "{id} 99999999999\n", "{id}\n", "", "{other} 77\n", "{id} 7\n{id} 8\n", "\x1b]0;\x07\n"],
)
def test_a_worker_that_lies_of_its_vms_is_named_and_the_others_are_cleared(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    slice_ = desk.ring(2)
    ids = {vm.worker_ip: vm.vm_id for vm in slice_.vms}
    before = {address: deepcopy(host.state()) for address, host in desk.cloud.hosts.items()}
    whole, script = FakeHost.await_ports, "await-ports.sh"
    said = lie.replace("{id}", str(ids[WORKERS[0]])).replace("{other}", str(ids[WORKERS[1]]))
    monkeypatch.setitem(
        SCRIPTS, script, lambda host, *rest: (0, said, "") if host.address == WORKERS[0] else whole(host, *rest)
    )
    sentence = desk.no(desk.api.deploy_slice("student", slice_.slice_id))
    assert sentence.startswith(f"{WORKERS[0]} gives an invalid answer: ")
    assert sentence.endswith("what was done has been taken back and the slice is in design")
    assert sentence.isprintable()
    assert {address: host.state() for address, host in desk.cloud.hosts.items()} == before
    monkeypatch.undo()
    desk.ok(desk.api.deploy_slice("student", slice_.slice_id))
    monkeypatch.setitem(
        SCRIPTS, script, lambda host, *rest: (0, said, "") if host.address == WORKERS[0] else whole(host, *rest)
    )
    if lie:
        assert f"{WORKERS[0]} gives an invalid answer: " in desk.no(desk.api.repair_slice("student", slice_.slice_id))
    assert all(vm.pid and vm.pid.isdecimal() for vm in desk.slice(slice_.slice_id).vms)


def test_a_worker_that_lies_of_its_ports_is_named(desk: Desk) -> None:
    slice_ = desk.ring(2)
    desk.cloud.hosts[WORKERS[0]].faults["room for the VMs"] = (PORT_TAKEN, " 5901\nnonsense\n", "")
    sentence = desk.no(desk.api.deploy_slice("student", slice_.slice_id))
    assert "gives an invalid answer: it does not say which ports are taken" in sentence
    assert desk.slice(slice_.slice_id).status == SliceStatus.DESIGN


def test_the_doctor_names_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fake_facts, "processes", lambda host: "/proc/9999999999999/cmdline:qemu-kvm\n" * (host.address == WORKERS[0])
    )
    found = [f for f in desk.api.doctor.examine().findings if f.code == "invalid-answer"]
    assert [finding.sentence for finding in found] == [f"{WORKERS[0]}: gives an invalid answer about its processes"]

"""Batches and files over a real SSH connection to the loopback interface, with every kind of failure."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from core.errors import CloudError, CommandFailed, HostUnreachable, Refused
from core.inventory import SSHSettings, Timeouts
from lab.errors import wait_until
from remote import batch, conversation, ssh
from remote import upload as upload_module
from remote.plan import Action, Command, Step, Upload
from remote.transcript import Outcome, UploadProgress
from tests.support.loopback import DISK_FULL, LoopbackHost
from tests.support.paths import ROOT


def step(*do: Action) -> Step:
    return Step("127.0.0.1", "a step", do)


def sh(script: str) -> Command:
    return Command(("sh", "-c", script))


def outcomes(client: ssh.SSHHost, steps: Sequence[Step], lock: str = "", timeout: float = 60.0) -> list[Outcome]:
    """Return the outcomes of a plan with one stage."""
    try:
        run = client.run(steps, lock=lock, timeout=timeout)
        return [item for item in run if isinstance(item, Outcome)]
    finally:
        client.expect()


def stage(client: ssh.SSHHost, script: str) -> str:
    """Return the output of a stage; the plan continues after it."""
    (outcome,) = client.run([step(sh(script))])
    assert isinstance(outcome, Outcome)
    return outcome.stdout


def failure(client: ssh.SSHHost, *do: Action, lock: str = "", timeout: float = 60.0) -> CloudError:
    with pytest.raises(CloudError) as caught:
        outcomes(client, [step(*(do or (sh("true"),)))], lock, timeout)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_library_brings_nothing_of_the_programs_that_it_could_start() -> None:
    code = "import sys, remote.ssh; sys.exit(len({'asyncio', 'invoke.context', 'unittest'} & {*sys.modules}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_outcomes_come_back_and_one_connection_and_one_round_trip_serve_them(
    host: LoopbackHost, client: ssh.SSHHost
) -> None:
    steps = [step(sh("echo out; echo err >&2")), step(sh("pwd"))]
    assert outcomes(client, steps) == [
        Outcome(0, 0, 0, "out\n", "err\n"),
        Outcome(1, 0, 0, f"{host.home}\n", ""),
    ]
    shell_and_batch = 2 + 1
    assert client.round_trips == shell_and_batch
    outcomes(client, steps)
    question_and_batch = 1 + 1
    assert (host.connections, client.round_trips) == (1, shell_and_batch + question_and_batch)


def test_plans_that_follow_one_another_share_a_shell_that_ends_with_the_connection(
    host: LoopbackHost, client: ssh.SSHHost
) -> None:
    for _ in range(3):
        assert stage(client, "exit 0") == ""
        client.expect()
        client.expect()
    (shell,) = host.processes
    assert shell.poll() is None
    client.close()
    shell.wait(timeout=10)
    stage(client, "true")
    assert len(host.processes) == 2


def test_a_shell_is_replaced_though_its_connection_was_just_lost(
    host: LoopbackHost, client: ssh.SSHHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(_: object) -> None:
        raise EOFError

    stage(client, "true")
    monkeypatch.setattr("paramiko.Channel.close", close)
    monkeypatch.setattr(conversation, "IDLE_SECONDS", 0)
    assert stage(client, "echo still there") == "still there\n"
    assert len(host.processes) == 2


def test_a_shell_that_an_earlier_plan_left_is_asked_before_anything_is_sent(
    host: LoopbackHost, client: ssh.SSHHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the manager sleep longer than it knows: only the ping shows that the shell has ended."""
    stage(client, "true")
    client.expect()
    os.killpg(host.processes[0].pid, signal.SIGKILL)
    host.processes[0].wait(timeout=10)
    channel = client._shell
    assert channel
    wait_until(channel.exit_status_ready, 10, "the end of the shell")
    monkeypatch.setattr(channel, "exit_status_ready", lambda: False)
    assert stage(client, "echo once >>said; cat said") == "once\n"
    assert [process.poll() is None for process in host.processes] == [False, True]
    assert host.connections == 1


@pytest.mark.parametrize(("noise", "connections"), [("true", 2), ("while sleep 0.1; do echo noise; done", 1)])
def test_a_shell_that_says_nothing_is_given_up_and_its_connection_where_that_is_silent_too(
    host: LoopbackHost, client: ssh.SSHHost, noise: str, connections: int
) -> None:
    """Let other output appear there: it is no answer."""
    shell = int(stage(client, f"echo $$; ({noise}) &").split()[0])
    client.expect()
    os.kill(shell, signal.SIGSTOP)
    assert stage(client, "echo here") == "here\n"
    assert (len(host.processes), host.connections) == (2, connections)


@pytest.fixture
def repeatable_plan(client: ssh.SSHHost) -> Callable[[str], str]:
    """Return a function that runs a repeatable plan, after an earlier plan has left a shell."""
    stage(client, "true")

    def repeatable(script: str) -> str:
        client.expect(repeatable=True)
        return stage(client, script)

    return repeatable


def test_a_repeatable_plan_is_one_round_trip(client: ssh.SSHHost, repeatable_plan: Callable[[str], str]) -> None:
    before = client.round_trips
    assert repeatable_plan("echo seen") == "seen\n"
    assert client.round_trips == before + 1


def test_a_repeatable_plan_gets_another_shell_where_the_old_one_has_ended(
    host: LoopbackHost, client: ssh.SSHHost, repeatable_plan: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.killpg(host.processes[0].pid, signal.SIGKILL)
    host.processes[0].wait(timeout=10)
    channel = client._shell
    assert channel
    wait_until(channel.exit_status_ready, 10, "the end of the shell")
    first, ready = iter([False]), channel.exit_status_ready
    monkeypatch.setattr(channel, "exit_status_ready", lambda: next(first, None) is None and ready())
    assert repeatable_plan("echo seen") == "seen\n"
    assert (len(host.processes), host.connections) == (2, 1)


@pytest.mark.parametrize("noise", ["true", "while sleep 0.1; do echo noise; done"])
def test_a_repeatable_plan_is_sent_again_where_no_answer_comes(
    host: LoopbackHost, client: ssh.SSHHost, repeatable_plan: Callable[[str], str], noise: str
) -> None:
    os.kill(int(stage(client, f"echo $$; ({noise}) &").split()[0]), signal.SIGSTOP)
    assert repeatable_plan("echo seen") == "seen\n"
    assert (len(host.processes), host.connections) == (2, 2)


def test_a_repeatable_plan_is_tried_once_where_no_shell_waits(
    client: ssh.SSHHost, repeatable_plan: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lose the host: a second attempt would wait twice for its connection."""
    tries = []

    def lost() -> None:
        tries.append("a shell")
        raise HostUnreachable("127.0.0.1", "lost")

    monkeypatch.setattr(conversation, "IDLE_SECONDS", 0)
    monkeypatch.setattr(client, "_start_shell", lost)
    with pytest.raises(HostUnreachable):
        repeatable_plan("true")
    assert len(tries) == 1


@pytest.mark.long
def test_a_repeatable_plan_that_was_begun_is_not_sent_again(
    host: LoopbackHost, repeatable_plan: Callable[[str], str]
) -> None:
    with pytest.raises(CommandFailed):
        repeatable_plan("echo once >>said; kill -9 $$; sleep 5")
    assert (host.home / "said").read_text() == "once\n"
    assert repeatable_plan("echo seen") == "seen\n"


def test_a_shell_that_waits_does_not_hold_on_to_a_home_that_was_replaced(
    host: LoopbackHost, client: ssh.SSHHost
) -> None:
    """Replace the home, as by a mount or a read-only disk: the next plan has to see it."""
    stage(client, "touch before")
    host.home.rename(host.home.with_name("old"))
    host.home.mkdir()
    stage(client, "touch after")
    assert [path.name for path in host.home.iterdir()] == ["after"]
    assert len(host.processes) == 1


def test_output_of_a_shell_between_two_plans_is_not_its_answer(client: ssh.SSHHost) -> None:
    stage(client, "(sleep 0.2; echo late; echo late >&2) &")
    client.expect()
    wait_until(lambda: client._shell is not None and client._shell.recv_ready(), 10, "the late words")
    assert stage(client, "echo on time") == "on time\n"


def test_a_failed_stage_leaves_the_shell_to_its_rollback(host: LoopbackHost, client: ssh.SSHHost) -> None:
    (failed, after) = client.run([step(sh("echo no >&2; exit 3"), sh("true"))], keep_going=True)
    assert (failed, after) == (Outcome(0, 0, 3, "", "no\n"), Outcome(0, 1, 0))
    assert stage(client, "echo back") == "back\n"
    assert len(host.processes) == 1


def test_nothing_of_a_stage_is_left_in_the_shell(host: LoopbackHost, client: ssh.SSHHost) -> None:
    stage(client, "trap 'echo trapped' EXIT; cd /; here=1; umask 777; echo() { :; }; exec 5>&1")
    assert stage(client, "umask; echo $here; [ -e /proc/self/fd/5 ] || pwd") == f"0022\n\n{host.home}\n"


def test_a_shell_that_is_killed_between_two_stages_is_replaced(host: LoopbackHost, client: ssh.SSHHost) -> None:
    stage(client, "true")
    (shell,) = host.processes
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait(timeout=10)
    wait_until(lambda: client._shell is not None and client._shell.exit_status_ready(), 10, "the end of the shell")
    assert stage(client, "echo again") == "again\n"
    assert host.connections == 1


def test_output_at_the_end_of_a_channel_is_read_first(
    host: LoopbackHost, client: ssh.SSHHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the last output, the ends of both streams and the exit status arrive between two checks."""
    ready = paramiko.Channel.recv_stderr_ready

    def late(channel: paramiko.Channel) -> bool:
        found = bool(ready(channel))
        if not found:
            wait_until(lambda: bool(channel.exit_status_ready() and channel.eof_received), 10, "the end of the channel")
        return found

    monkeypatch.setattr(paramiko.Channel, "recv_stderr_ready", late)
    host.sudo = "echo words >&2; exit 1"
    assert "refuses: words" in str(failure(client))


@pytest.mark.long
def test_a_command_that_kills_the_shell_of_its_batch(client: ssh.SSHHost) -> None:
    error = failure(client, sh("kill -9 $$; sleep 5"))
    assert error.begun
    assert stage(client, "echo again") == "again\n"


def test_a_connection_that_is_lost_between_two_stages_is_made_again(host: LoopbackHost, client: ssh.SSHHost) -> None:
    stage(client, "true")
    host.cut()
    wait_until(lambda: not client._is_connected, 10, "the end of the connection")
    assert stage(client, "echo again") == "again\n"
    assert host.connections == 2


def test_nothing_to_do_is_no_round_trip(host: LoopbackHost, client: ssh.SSHHost) -> None:
    assert not outcomes(client, [Step("127.0.0.1", "nothing", ())])
    assert (host.connections, client.round_trips) == (0, 0)


@pytest.mark.parametrize("stream", ["1", "2"])
def test_five_megabytes_on_either_stream_do_not_block(client: ssh.SSHHost, stream: str) -> None:
    (outcome, _) = outcomes(client, [step(sh(f"head -c 5000000 /dev/zero | tr '\\0' x >&{stream}"), sh("true"))])
    assert len(outcome.stdout) + len(outcome.stderr) == 5_000_000


def test_a_lost_connection_is_made_again(host: LoopbackHost, client: ssh.SSHHost) -> None:
    outcomes(client, [step(sh("true"))])
    host.cut()
    assert outcomes(client, [step(sh("true"))])
    assert host.connections == 2


def test_connection_lost_in_the_middle(host: LoopbackHost, client: ssh.SSHHost) -> None:
    host.hangs_up = True
    assert isinstance(failure(client), HostUnreachable)


def test_silence_is_given_up(client: ssh.SSHHost) -> None:
    error = failure(client, sh("exec sleep 20"), timeout=1.0)
    assert isinstance(error, HostUnreachable)
    assert "silent for 1 s" in str(error)


@pytest.mark.long
def test_a_host_that_takes_the_connection_and_hangs_is_given_up(host: LoopbackHost, tmp_path: Path) -> None:
    """Freeze the host: its kernel acknowledges every packet, so only a clock can tell."""
    client = ssh.SSHHost("127.0.0.1", host.settings(tmp_path, timeouts=Timeouts(connect=1.0)))
    outcomes(client, [step(sh("true"))])
    host.hangs = True
    os.killpg(host.processes[0].pid, signal.SIGSTOP)
    began = time.monotonic()
    error = failure(client, timeout=5.0)
    assert isinstance(error, HostUnreachable)
    assert not error.begun
    assert time.monotonic() - began < 5


def test_a_batch_that_does_not_get_its_lock_did_nothing(
    client: ssh.SSHHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "SLICE_LOCK", f"{tmp_path}/{{}}.lock")
    with (tmp_path / "slice-7.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        error = failure(client, sh("touch changed"), lock="slice-7", timeout=2.0)
        assert not outcomes(client, [step(sh("true"))], "slice-8")[0].status
    assert not error.begun
    assert str(error) == (
        "127.0.0.1: busy: an earlier command of this slice is still at work there; try again in a minute"
    )
    assert not list((tmp_path / "home").iterdir())
    assert not outcomes(client, [step(sh("true"))], "slice-7")[0].status
    assert not list(tmp_path.glob("*.lock"))


def test_a_shell_whose_manager_is_silent_for_long_ends_by_itself_and_the_next_batch_gets_another(
    host: LoopbackHost, client: ssh.SSHHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep its input open, as after a lost connection that sshd has not noticed."""
    first = stage(client, "echo $PPID")
    monkeypatch.setattr(batch, "IDLE_SECONDS", 1)
    assert stage(client, "echo $PPID") == first
    wait_until(lambda: client._shell is not None and client._shell.exit_status_ready(), 10, "the end of an idle shell")
    assert stage(client, "echo more") == "more\n"
    assert len(host.processes) == 2
    monkeypatch.setattr(conversation, "IDLE_SECONDS", 0)
    assert stage(client, "echo again") == "again\n"
    assert len(host.processes) == 3


@pytest.mark.long
def test_a_step_without_the_shared_lock_is_refused_before_its_timeout(
    host: LoopbackHost, client: ssh.SSHHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hold the lock: a batch given up earlier would run later, without a manager."""
    monkeypatch.setattr(batch, "LOCK", str(tmp_path))
    shared = Step("127.0.0.1", "a step", (sh("touch changed"),), lock=True)
    lock = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandFailed, match="another slice keeps Open vSwitch or this host busy"):
            outcomes(client, [shared], timeout=3.0)
    finally:
        os.close(lock)
    assert not list(host.home.iterdir())


def test_sudo_that_refuses(host: LoopbackHost, client: ssh.SSHHost) -> None:
    host.sudo = "echo sudo: a password is required >&2; exit 1"
    error = failure(client)
    assert isinstance(error, CommandFailed)
    assert "sudo refuses: sudo: a password is required" in str(error)


def test_sudo_that_refuses_before_it_has_read_all_input(
    host: LoopbackHost, client: ssh.SSHHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = paramiko.Channel.sendall

    def late(channel: paramiko.Channel, script: bytes) -> None:
        if b"umask" in script:  # the test's server sends data, too
            wait_until(lambda: channel.closed, 10, "the end of the channel")
        send(channel, script)

    host.sudo = "echo sudo: a password is required >&2; exit 1"
    monkeypatch.setattr(paramiko.Channel, "sendall", late)
    error = failure(client)
    assert "sudo refuses: sudo: a password is required" in str(error)
    assert not error.begun


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 124", "status 124 before it began: with no output"),
        ("echo sh: 0: Cannot fork >&2; exit 2", "status 2 before it began: sh: 0: Cannot fork"),
    ],
)
def test_a_shell_that_ends_before_it_begins_is_not_blamed_on_sudo(
    host: LoopbackHost, client: ssh.SSHHost, script: str, why: str
) -> None:
    host.sudo = script
    error = failure(client)
    assert f"the shell there ended with {why}; try again" in str(error)
    assert not error.begun


def test_key_that_is_refused(host: LoopbackHost, client: ssh.SSHHost) -> None:
    host.accepts = False
    assert "refuses user ubuntu with the key" in str(failure(client))


def test_a_try_to_log_in_that_fails_leaves_no_connection(host: LoopbackHost, client: ssh.SSHHost) -> None:
    """Fail a login: sshd keeps a few connections for two minutes (sshd_config(5), LoginGraceTime and MaxStartups)."""
    host.accepts = False
    assert "refuses user ubuntu" in str(failure(client))
    host.host_key = paramiko.ECDSAKey.generate()
    assert "host key is not the one" in str(failure(client))
    assert len(host._transports) == 2
    wait_until(lambda: not any(each.is_active() for each in host._transports), 10, "the end of both connections")


def test_key_file_that_is_not_there(host: LoopbackHost, tmp_path: Path) -> None:
    settings = host.settings(tmp_path)
    Path(settings.key_file).unlink()
    assert "see ssh: key_file" in str(failure(ssh.SSHHost("127.0.0.1", settings)))


@pytest.mark.parametrize("content", ["", "junk", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_key_file_that_is_no_key(host: LoopbackHost, tmp_path: Path, content: str) -> None:
    settings = host.settings(tmp_path)
    Path(settings.key_file).write_text(content, encoding="ascii")
    assert isinstance(failure(ssh.SSHHost("127.0.0.1", settings)), HostUnreachable)


def test_a_closed_port_is_named(tmp_path: Path, host: LoopbackHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings = SSHSettings(port=port, key_file=host.settings(tmp_path).key_file)
    assert "refused" in str(failure(ssh.SSHHost("127.0.0.1", settings)))


def test_a_silent_server_is_named(tmp_path: Path, host: LoopbackHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        key_file, timeouts = host.settings(tmp_path).key_file, Timeouts(connect=0.5)
        settings = SSHSettings(port=silent.getsockname()[1], key_file=key_file, timeouts=timeouts)
        assert isinstance(failure(ssh.SSHHost("127.0.0.1", settings)), HostUnreachable)


def test_a_host_that_hangs_up_on_some_of_many_is_asked_again(host: LoopbackHost, client: ssh.SSHHost) -> None:
    host.turns_away = 3
    assert stage(client, "echo in") == "in\n"
    assert host.connections == 4


def test_a_host_that_hangs_up_on_all_is_given_up_in_time(host: LoopbackHost, tmp_path: Path) -> None:
    client = ssh.SSHHost("127.0.0.1", host.settings(tmp_path, timeouts=Timeouts(connect=0.5)))
    host.turns_away = 1000
    began = time.monotonic()
    assert not failure(client).begun
    assert time.monotonic() - began < 2


def test_an_unknown_host_key_is_remembered_and_a_changed_one_refused(
    host: LoopbackHost, client: ssh.SSHHost, tmp_path: Path
) -> None:
    outcomes(client, [step(sh("true"))])
    known_hosts = tmp_path / "ssh" / "known_hosts"
    assert host.host_key.get_base64() in known_hosts.read_text(encoding="ascii")
    remembered = known_hosts.read_text(encoding="ascii")
    host.host_key = paramiko.ECDSAKey.generate()
    host.cut()
    assert "host key is not the one" in str(failure(client))
    assert known_hosts.read_text(encoding="ascii") == remembered


def test_strict_refuses_an_unknown_host_key(host: LoopbackHost, tmp_path: Path) -> None:
    settings = host.settings(tmp_path, host_keys="strict")
    assert "host_keys is strict" in str(failure(ssh.SSHHost("127.0.0.1", settings)))
    assert not (tmp_path / "ssh" / "known_hosts").exists()


def test_a_line_that_was_left_without_its_end_does_not_swallow_the_new_one(host: LoopbackHost, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known"
    known_hosts.write_bytes(b"# by hand")
    settings = host.settings(tmp_path, known_hosts=str(known_hosts))
    for _ in range(2):
        assert outcomes(ssh.SSHHost("127.0.0.1", settings), [step(sh("true"))])
    assert known_hosts.read_text(encoding="ascii").startswith("# by hand\n[127.0.0.1]:")
    assert known_hosts.read_text(encoding="ascii").count("\n") == 2


def test_a_host_without_a_switch_fails_the_batch_and_says_so(
    client: ssh.SSHHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Remove the folder of Open vSwitch, which is missing until its first start: no lock is waited for."""
    monkeypatch.setattr(batch, "LOCK", "/nowhere")
    locked = Step("127.0.0.1", "shared", (sh("true"),), lock=True)
    with pytest.raises(CommandFailed, match="Open vSwitch does not run there; start it"):
        list(client.run([step(sh("true")), locked, step(sh("true"))], keep_going=True))


def test_a_failed_login_counts_as_not_begun(host: LoopbackHost, client: ssh.SSHHost) -> None:
    host.sudo = "exit 1"
    assert not failure(client).begun
    host.accepts = False
    host.cut()
    assert not failure(client).begun


# --- files ------------------------------------------------------------------------------------------------------------


def nothing_is_left(host: LoopbackHost, *but: str) -> bool:
    """Check that the host notices, a moment later, that a file will not come."""
    wait_until(lambda: {path.name for path in (host.home / "images").iterdir()} == {*but}, 10, "removal of the part")
    return True


def until_some_of_it_is_there(run: Iterator[Outcome | UploadProgress]) -> None:
    for item in run:
        if isinstance(item, UploadProgress) and item.done:
            return


def upload(image: Path, name: str = ".base.img.part") -> tuple[Action, ...]:
    target, part = "images/base.img", f"images/{name}"
    return sh("mkdir -p images"), Upload(str(image), target, part, ("test", "-e", target)), sh("true")


def test_a_file_arrives_whole_and_the_rest_of_the_batch_follows(
    host: LoopbackHost, client: ssh.SSHHost, image: Path
) -> None:
    run = list(client.run([step(*upload(image)), step(sh("echo then"))]))
    progress = [item for item in run if isinstance(item, UploadProgress)]
    assert progress[-1].done == progress[-1].total == image.stat().st_size
    assert [(o.step, o.action) for o in run if isinstance(o, Outcome)] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert (host.home / "images" / "base.img").read_bytes() == image.read_bytes()
    assert [path.name for path in (host.home / "images").iterdir()] == ["base.img"]
    assert len(host.processes) == 2, "who takes the file in, and one shell for what is before it and behind it"


def test_a_file_that_is_there_is_not_sent_again(client: ssh.SSHHost, image: Path) -> None:
    list(client.run([step(*upload(image))]))
    again = list(client.run([step(*upload(image))]))
    assert [o.status for o in again if isinstance(o, Outcome)] == [0, None, 0]


def test_a_file_that_arrives_damaged_does_not_get_its_name(
    host: LoopbackHost, client: ssh.SSHHost, image: Path
) -> None:
    host.damages_files = True
    assert str(failure(client, *upload(image))).endswith("images/base.img: it arrived damaged; try again")
    assert nothing_is_left(host)


def test_a_full_disk_leaves_nothing(host: LoopbackHost, client: ssh.SSHHost, image: Path) -> None:
    host.disk_full = True
    image.write_bytes(b"x" * DISK_FULL)
    assert outcomes(client, [step(*upload(image))])[1].status == 0
    (host.home / "images" / "base.img").unlink()
    image.write_bytes(b"x" * (DISK_FULL + 10_000_000))
    assert str(failure(client, *upload(image))).endswith("images/base.img: is the disk full?")
    assert nothing_is_left(host)


def test_an_image_that_is_not_on_the_manager(host: LoopbackHost, client: ssh.SSHHost, tmp_path: Path) -> None:
    error = failure(client, *upload(tmp_path / "nowhere.img"))
    assert isinstance(error, Refused)
    assert "nowhere.img cannot be read on this machine" in str(error)
    assert nothing_is_left(host)


def test_an_image_that_becomes_shorter_while_it_is_copied(host: LoopbackHost, client: ssh.SSHHost, image: Path) -> None:
    def cut_short() -> None:
        for item in client.run([step(*upload(image))]):
            if isinstance(item, UploadProgress):
                os.truncate(image, 100)

    with pytest.raises(Refused, match="cannot be read on this machine: it has become shorter"):
        cut_short()
    assert nothing_is_left(host)


def test_a_host_that_says_nothing_to_a_file_is_given_up(host: LoopbackHost, client: ssh.SSHHost, image: Path) -> None:
    host.silent_files = True
    assert isinstance(failure(client, *upload(image), timeout=1.0), HostUnreachable)


def test_a_connection_that_is_lost_in_the_middle_of_a_file(
    host: LoopbackHost, client: ssh.SSHHost, image: Path
) -> None:
    run = client.run([step(*upload(image))])

    def cut_at_the_first_piece() -> None:
        for item in run:
            if isinstance(item, UploadProgress):
                host.cut()

    with pytest.raises(HostUnreachable):
        cut_at_the_first_piece()
    assert nothing_is_left(host)


def test_a_file_of_that_name_and_another_size_is_not_taken_for_it(
    host: LoopbackHost, client: ssh.SSHHost, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = upload_module.Content.feed

    def overtaken(content: upload_module.Content, pipe: int) -> bool:
        (host.home / "images" / "base.img").write_bytes(b"another")
        return feed(content, pipe)

    monkeypatch.setattr(upload_module.Content, "feed", overtaken)
    assert "another size is there, remove it" in str(failure(client, *upload(image)))
    assert (host.home / "images" / "base.img").read_bytes() == b"another"


def test_an_empty_file_that_a_power_cut_left_is_replaced(host: LoopbackHost, client: ssh.SSHHost, image: Path) -> None:
    (host.home / "images").mkdir()
    (host.home / "images" / "base.img").write_bytes(b"")
    target, part = "images/base.img", "images/.base.img.part"
    list(client.run([step(Upload(str(image), target, part, ("test", "-s", target)))]))
    assert (host.home / "images" / "base.img").read_bytes() == image.read_bytes()


def test_a_second_copy_of_the_same_file_is_not_needed(
    host: LoopbackHost, client: ssh.SSHHost, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = upload_module.Content.feed

    def overtaken(content: upload_module.Content, pipe: int) -> bool:
        (host.home / "images" / "base.img").write_bytes(image.read_bytes())
        return feed(content, pipe)

    monkeypatch.setattr(upload_module.Content, "feed", overtaken)
    list(client.run([step(*upload(image))]))
    assert [path.name for path in (host.home / "images").iterdir()] == ["base.img"]


def test_an_upload_that_is_left_half_way_leaves_nothing(host: LoopbackHost, client: ssh.SSHHost, image: Path) -> None:
    run = client.run([step(*upload(image))])
    while not isinstance(next(run), UploadProgress):
        pass
    run.close()
    assert nothing_is_left(host)


def test_a_file_is_hashed_once_for_all_hosts(client: ssh.SSHHost, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, real = [], upload_module._hash

    def noting(file: int) -> str:
        hashed.append(file)
        return real(file)

    monkeypatch.setattr(upload_module, "_hash", noting)
    image.write_bytes(os.urandom(100))
    for target in ("one", "two"):
        outcomes(client, [step(Upload(str(image), f"./{target}", f"./.{target}.part", ("test", "-e", target)))])
    assert len(hashed) == 1


def test_a_host_without_openssl_hashes_as_well(
    host: LoopbackHost, client: ssh.SSHHost, image: Path, tmp_path: Path
) -> None:
    host.programs = tmp_path / "bin"
    host.programs.mkdir()
    (host.programs / "openssl").write_text("#!/bin/sh\nexit 127\n")
    (host.programs / "openssl").chmod(0o755)
    assert outcomes(client, [step(*upload(image))])[1].status == 0
    host.damages_files = True
    (host.home / "images" / "base.img").unlink()
    assert "arrived damaged" in str(failure(client, *upload(image)))


@pytest.fixture
def second(host: LoopbackHost, tmp_path: Path) -> Iterator[ssh.SSHHost]:
    """Return another manager's connection to the same host."""
    connected = ssh.SSHHost("127.0.0.1", host.settings(tmp_path))
    yield connected
    connected.close()


def stand_in(host: LoopbackHost, tmp_path: Path, program: str, script: str) -> None:
    """Replace a program of the host."""
    folder = tmp_path / "programs"
    shutil.copytree(host.programs, folder)
    (folder / program).write_text(f"#!/bin/sh\n{script}\n")
    (folder / program).chmod(0o755)
    host.programs = folder


@pytest.mark.long
def test_a_host_that_hashes_for_long_is_not_silent(
    host: LoopbackHost, client: ssh.SSHHost, image: Path, tmp_path: Path
) -> None:
    stand_in(host, tmp_path, "openssl", f'sleep 3; exec {shutil.which("openssl")} "$@"')
    statuses = [outcome.status for outcome in outcomes(client, [step(*upload(image))], timeout=2.0)]
    assert statuses == [0, 0, 0]


def test_a_file_that_cannot_be_given_its_name(
    host: LoopbackHost, client: ssh.SSHHost, image: Path, tmp_path: Path
) -> None:
    stand_in(host, tmp_path, "ln", "echo 'ln: failed to create hard link: Operation not permitted' >&2; exit 1")
    assert "it cannot be given its name: Operation not permitted" in str(failure(client, *upload(image)))
    assert nothing_is_left(host)


def test_a_file_that_two_need_at_once_is_copied_once(
    host: LoopbackHost, client: ssh.SSHHost, second: ssh.SSHHost, image: Path
) -> None:
    first = client.run([step(*upload(image))])
    until_some_of_it_is_there(first)
    other = second.run([step(*upload(image, ".other.part"))])
    assert next(other) == Outcome(0, 0, 0)
    waiting = next(other)
    assert isinstance(waiting, UploadProgress)
    assert waiting.done == 0
    assert [item.status for item in first if isinstance(item, Outcome)] == [0, 0]
    rest = list(other)
    assert not [item for item in rest if isinstance(item, UploadProgress) and item.done]
    assert [item.status for item in rest if isinstance(item, Outcome)] == [None, 0]
    assert (host.home / "images" / "base.img").read_bytes() == image.read_bytes()
    assert nothing_is_left(host, "base.img")


@pytest.mark.long
@pytest.mark.parametrize("dies", [True, False])
def test_a_copy_that_waits_for_a_dead_one_takes_over(
    host: LoopbackHost, client: ssh.SSHHost, second: ssh.SSHHost, image: Path, dies: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Stop the first copy: its manager died, or its host has not noticed yet."""
    monkeypatch.setattr(upload_module, "STILL_SECONDS", 1)
    first = client.run([step(*upload(image))])
    until_some_of_it_is_there(first)
    other = second.run([step(*upload(image, ".other.part"))])
    while not isinstance(next(other), UploadProgress):
        pass
    if dies:
        first.close()
    assert [item.status for item in other if isinstance(item, Outcome)] == [0, 0]
    assert (host.home / "images" / "base.img").read_bytes() == image.read_bytes()
    if not dies:
        assert [item.status for item in first if isinstance(item, Outcome)] == [0, 0], "it finds the same there"
    assert nothing_is_left(host, "base.img")


@pytest.mark.long
def test_a_copy_over_its_own_half_file_starts_again(
    host: LoopbackHost, client: ssh.SSHHost, second: ssh.SSHHost, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resume the slice while the first manager's session still has the file open and ends later."""
    monkeypatch.setattr(upload_module, "STILL_SECONDS", 1)
    first = client.run([step(*upload(image))])
    until_some_of_it_is_there(first)
    other = second.run([step(*upload(image))])
    for item in other:
        if isinstance(item, UploadProgress) and item.done:
            break
    first.close()
    wait_until(lambda: len([p for p in host.processes if p.poll() is None]) <= 3, 10, "the end of the first")
    assert [item.status for item in other if isinstance(item, Outcome)] == [0, 0]
    assert (host.home / "images" / "base.img").read_bytes() == image.read_bytes()
    assert nothing_is_left(host, "base.img")


def test_a_terminal_passes_bytes_both_ways(client: ssh.SSHHost) -> None:
    channel = client.open_terminal(("cat",))
    channel.send(b"hello\x1b[0m")
    assert channel.recv(100) == b"hello\x1b[0m"
    channel.close()


def test_connections_hand_out_one_host_per_address() -> None:
    connections = ssh.Connections(SSHSettings())
    assert connections.host("127.0.0.1") is connections.host("127.0.0.1")
    assert connections.host("127.0.0.1") is not connections.host("127.0.0.2")
    connections.close()


def test_other_settings_are_used_from_the_next_batch_on(host: LoopbackHost, tmp_path: Path) -> None:
    settings = host.settings(tmp_path)
    connections = ssh.Connections(settings)
    client = connections.host("127.0.0.1")
    stage(client, "true")
    connections.use(replace(settings, key_file="/no/such/key", timeouts=Timeouts(connect=1)))
    assert stage(client, "echo works") == "works\n", "a connection that works stays"
    client.close()
    assert "the SSH key /no/such/key is not there" in str(failure(client))
    connections.use(settings)
    assert stage(client, "echo again") == "again\n"
    assert host.connections == 2
    connections.close()


def test_a_connection_of_another_user_is_not_used(host: LoopbackHost, tmp_path: Path) -> None:
    settings = host.settings(tmp_path)
    connections = ssh.Connections(settings)
    client = connections.host("127.0.0.1")
    stage(client, "true")
    connections.use(replace(settings, user="other"))
    assert "other" in str(failure(client))
    connections.use(settings)
    stage(client, "true")
    connections.close()

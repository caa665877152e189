"""The service account of docs/students-over-ssh.md, set up word by word, and attacked with the real ssh."""

from __future__ import annotations

import socket
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab import Lab, paths
from tests.support.lab.door import ADDRESS, PASSWORDS, StudentDoor, opened_door
from tests.support.lab.visitor import wait_until
from tests.support.playing import Terminal, terminal_of
from tests.support.scale import scaled

pytestmark = pytest.mark.lab

MENU = "Choose an option: "


@pytest.fixture(scope="module")
def door(lab: Lab, home: Path) -> Iterator[StudentDoor]:
    with opened_door(lab, home) as door:
        yield door


def log_in(terminal: Terminal, who: str) -> None:
    terminal.wait_for("Password: ", 60)
    terminal.type(f"{PASSWORDS[who]}\r")
    terminal.wait_for(MENU, 60)


def choose(terminal: Terminal, *answers: tuple[str, str], until: str = MENU) -> str:
    for answer, prompt in answers:
        terminal.type(f"{answer}\r")
        terminal.wait_for(prompt, 60)
    return terminal.wait_for(until, 120) if until else ""


@pytest.fixture(scope="module")
def slice_of_alice(door: StudentDoor) -> int:
    """Return a slice with one VM, in design."""
    script = f"{PASSWORDS['alice']}\n2\nprivate\n3\n7000\nhers\n1\n1\nn\n0\n"
    shown = door.piped("alice", stdin=script)
    assert "Slice created! ID: 7000" in shown, shown
    assert "VM added! ID: 7001" in shown, shown
    return 7000


# --- no way but the menu and its commands -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        *("cat /var/lib/cloud/database.yaml", "sh -i; $(id) `id` && /bin/bash", "scp -f /etc/passwd", "x" * 20_000),
        *("user list", "doctor --fix --yes", "list --database /root/database.yaml", "list --as mallory"),
        *("create /var/lib/cloud/database.yaml", "validate /root/database.yaml", "list\nuser list", "list 'x"),
    ],
)
def test_what_is_no_command_of_a_student_is_one_sentence(door: StudentDoor, command: str) -> None:
    shown = door.piped("alice", command)
    assert shown.startswith("Error: ")
    assert len(shown.splitlines()) == 1
    for word in ("uid=", "root:", "workers_list", "password_hash", "Traceback", "$ "):
        assert word not in shown


def test_a_command_is_carried_out_with_the_key_alone(door: StudentDoor) -> None:
    assert "deploy a slice" in door.piped("alice", "help")
    assert door.piped("alice", "list").strip() == "alice has no slices yet"
    assert door.piped("alice", "validate -", stdin="slice: a\nvms: {r1: cirros}\n") == "-: slice a: 1 VM, 0 links\n"
    acts = door.root("cat /var/lib/cloud/database.yaml.audit/alice.acts.log")
    assert '"action": "run command"' in acts


@pytest.mark.parametrize(("program", "arguments"), [
    ("sftp", ["-b", "/dev/null", f"cloud@{ADDRESS}"]),
    ("sftp", ["-s", "/usr/lib/openssh/sftp-server", "-b", "/dev/null", f"cloud@{ADDRESS}"]),
    ("scp", [f"cloud@{ADDRESS}:/var/lib/cloud/database.yaml", "."]),
    ("scp", ["-O", f"cloud@{ADDRESS}:/var/lib/cloud/database.yaml", "."]),
    ("scp", ["-O", "/etc/hostname", f"cloud@{ADDRESS}:/tmp/stolen"]),
])  # fmt: skip
def test_no_file_comes_out_or_goes_in(door: StudentDoor, tmp_path: Path, program: str, arguments: list[str]) -> None:
    argv = door.ssh("alice", *arguments, program=program)
    done = subprocess.run(
        argv, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert not list(tmp_path.iterdir())
    assert "workers_list" not in done.stdout + done.stderr
    assert "stolen" not in door.root("ls /tmp")


def _says_nothing(door: StudentDoor, here: Path, there: str) -> bool:
    """Return whether a connection through `ssh -L here:there` ends with no output."""
    client = subprocess.Popen(
        door.ssh("alice", "-N", "-L", f"{here}:{there}", f"cloud@{ADDRESS}"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(here.exists, "the client's socket", 30)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(here))
            with suppress(BrokenPipeError):
                connection.sendall(b'{"method": "list_dbs", "params": [], "id": 0}')
            try:
                return connection.recv(100) == b""
            except ConnectionResetError:
                return True
    finally:
        client.kill()
        client.wait(30)


def test_nothing_is_forwarded(door: StudentDoor, home: Path) -> None:
    sockets = home / "sockets"
    sockets.mkdir()
    paths.caller().own(sockets)  # the client makes its end of a tunnel there
    local = door.ssh("alice", "-T", "-W", "10.0.10.1:22", f"cloud@{ADDRESS}")
    done = subprocess.run(local, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert "stdio forwarding failed" in done.stderr
    assert "SSH-2.0" not in done.stdout
    remote = door.ssh("alice", "-N", "-o", "ExitOnForwardFailure=yes", "-R", "2200:127.0.0.1:22", f"cloud@{ADDRESS}")
    done = subprocess.run(remote, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 255
    assert "remote port forwarding failed" in done.stderr
    assert _says_nothing(door, sockets / "ovs", "/run/openvswitch/db.sock")
    assert _says_nothing(door, sockets / "sshd", f"{ADDRESS}:22")
    agent = ("ssh-agent", *door.ssh("alice", "-A", "-tt", f"cloud@{ADDRESS}"))
    with terminal_of(agent) as terminal:
        terminal.wait_for("Password: ", 60)
        assert door.root("ls -d /tmp/ssh-* 2>/dev/null || true") == ""
        terminal.type("\x03")
        terminal.wait_for("Goodbye")
        assert terminal.exit_status() == 130
    wait_until(lambda: not door.processes(), "the end of all sessions", 30)


def test_only_with_a_key_of_the_list_and_as_the_user_it_is_for(door: StudentDoor, tmp_path: Path) -> None:
    outsider = tmp_path / "outsider"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", outsider], check=True)
    other = StudentDoor(door.lab, {"outsider": outsider})
    assert "Permission denied (publickey)" in other.piped("outsider")
    shown = door.piped("mallory", stdin="mallory\nalice\n" + PASSWORDS["alice"] + "\n")
    assert "User: mallory" in shown
    assert MENU not in shown


def test_the_environment_that_is_sent_along_counts_for_nothing(door: StudentDoor) -> None:
    sent = ["PYTHONSTARTUP=/etc/passwd", "PYTHONPATH=/tmp", "PYTHONINSPECT=1", "PYTHONHOME=/tmp", "INPUTRC=/etc/passwd"]
    sent += ["EDITOR=sh", "PAGER=sh", "LC_ALL=../../x", "COLUMNS=1", "FORCE_COLOR=1", "ENV=/etc/passwd", "IFS=/"]
    option = "SetEnv=" + " ".join(f'"{variable}"' for variable in sent)
    shown = door.piped("alice", before=("-o", option))
    assert "User: alice\nPassword: \nGoodbye" in shown
    assert "\x1b" not in shown
    argv = door.ssh("alice", "-tt", "-o", option, f"cloud@{ADDRESS}")
    with terminal_of(argv, TERM="../../../etc/passwd") as terminal:
        log_in(terminal, "alice")
        terminal.type("0\r")
        terminal.wait_for("Goodbye")


def _connections(lab: Lab) -> int:
    """Return the number of sshd processes on worker1, which is the cost of a connected session."""
    listed = lab.exec("worker1", ["ps", "-e", "-o", "args="]).stdout
    return sum(line.startswith("sshd") for line in listed.splitlines())


def _prompt(door: StudentDoor) -> subprocess.Popen[str]:
    argv = door.ssh("alice", "-T", f"cloud@{ADDRESS}")
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.torture
def test_many_logins_at_the_prompt_cost_the_workers_nothing_and_end_at_the_bound(door: StudentDoor) -> None:
    wait_until(lambda: not door.processes(), "the end of earlier sessions", 30)
    before = _connections(door.lab)
    clients = [_prompt(door) for _ in range(8)]
    try:
        for client in clients:
            assert client.stdout
            assert client.stdout.readline() == "User: alice\n"
        for _ in range(scaled(2, 32)):
            assert "alice has 8 sessions open, which is the limit" in door.piped("alice")
        assert len([line for line in door.processes() if "cli.py" in line]) == 8
        assert _connections(door.lab) <= before
        assert MENU in door.piped("mallory", stdin=f"{PASSWORDS['mallory']}\n0\n")
        door.root("kill -9 $(pgrep -o -u cloud -f cli.py)")
        assert MENU in door.piped("alice", stdin=f"{PASSWORDS['alice']}\n0\n")
    finally:
        for client in clients:
            client.communicate(timeout=60)
    wait_until(lambda: not door.processes(), "the end of all sessions", 30)


# --- signals and escapes ----------------------------------------------------------------------------------------------

HARMLESS = ["\x1a", "\x1c", "\x1a\x1c\x1a", "\x1b?", "\x1b*", "~/\x1b&", "\t\t", "\x18\x05", "\x18\x12", "!sh", "`sh`"]
VI = ["\x1b", "~daemon\x1b&", "\x1bxdump-functions"]
"""A readline setting; the first line and Enter would change keys, and the second one would show a home folder."""

WAYS = [("3", "Slice ID: "), ("7", "Slice ID: "), ("9", "VM ID: "), ("2", "Slice name: ")]


@pytest.mark.usefixtures("slice_of_alice")
def test_no_key_at_any_kind_of_prompt_gives_a_shell(door: StudentDoor) -> None:
    with door.terminal("alice") as terminal:
        terminal.wait_for("Password: ", 60)
        terminal.type("\x1a\x1c")
        terminal.type(f"{PASSWORDS['alice']}\r")
        shown = terminal.wait_for(MENU, 60)
        shown += _typed(terminal, MENU)
        for number, prompt in WAYS:
            choose(terminal, (number, prompt), until="")
            shown += _typed(terminal, prompt)
            choose(terminal, ("..", MENU), until="")
        choose(terminal, ("12", "Current password: "), until="")
        terminal.type("\x1a\x1c\x1b?\r")
        shown += terminal.wait_for(": ")
        for word in ("$ ", "# ", "/srv", "/var/lib", "/usr/sbin", "cli.py", "Stopped", "Quit", "root:", "accept-line"):
            assert word not in shown
        terminal.type("\x03")
        terminal.wait_for("Goodbye")
        assert terminal.exit_status() == 130
    wait_until(lambda: not door.processes(), "the end of the session", 30)


def _typed(terminal: Terminal, prompt: str) -> str:
    """Return the screen after all keys were typed at a prompt, each with Enter."""
    shown = ""
    for keys in [*HARMLESS, *VI]:
        terminal.type(f"{keys}\r")
        shown += terminal.wait_for(prompt)
    return shown


def test_ctrl_c_from_the_first_moment_on_shows_no_traceback(door: StudentDoor) -> None:
    with door.terminal("alice") as terminal:
        for _ in range(200):  # from before the account's shell is up until the menu answers
            with suppress(OSError, AssertionError):
                terminal.type("\x03")
                assert terminal.exit_status(0.3) in {130, 255}
                break
        assert not terminal.pid
        assert "Traceback" not in terminal.seen


# --- others' slices, and a whole deployment ---------------------------------------------------------------------------


def test_another_students_slice_is_not_there(door: StudentDoor, slice_of_alice: int) -> None:
    script = textwrap.dedent(f"""\
        {PASSWORDS["mallory"]}
        5
        6
        {slice_of_alice}
        7
        {slice_of_alice}
        9
        {slice_of_alice + 1}
        10
        {slice_of_alice}
        1
        0
        """)
    shown = door.piped("mallory", stdin=script)
    assert shown.count(f"You have no slice {slice_of_alice}; your slices: none yet, create one first") == 3
    assert f"You have no VM {slice_of_alice + 1}" in shown
    assert "alice" not in shown
    assert "private" not in shown
    assert "hers" not in shown


@pytest.fixture(scope="module")
def deployed_slice(door: StudentDoor, slice_of_alice: int) -> int:
    """Deploy the slice in a session whose window is closed meanwhile; return the slice's id."""
    with door.terminal("alice") as terminal:
        log_in(terminal, "alice")
        terminal.type("6\r")
        terminal.wait_for("deploy: ")
        terminal.type(f"{slice_of_alice}\r")
        terminal.wait_for("prepare", 60)
    wait_until(lambda: not door.processes(), "the end of the unwatched session", 90)
    return slice_of_alice


def test_a_window_closed_while_deploying_leaves_a_slice_that_runs(door: StudentDoor, deployed_slice: int) -> None:
    shown = door.piped("alice", stdin=f"{PASSWORDS['alice']}\n5\n0\n")
    assert f"Slice {deployed_slice}: private, running" in shown, shown
    assert "its manager stopped" not in shown
    log = door.root("cat /var/lib/cloud/database.yaml.audit/alice.acts.log")
    assert [line for line in log.splitlines() if '"deploy"' in line][-1].count('"result": "ok"') == 1


def test_a_console_leads_back_to_the_menu_or_out_and_nowhere_else(door: StudentDoor, deployed_slice: int) -> None:
    with door.terminal("alice") as terminal:
        log_in(terminal, "alice")
        choose(terminal, ("9", "VM ID"), (str(deployed_slice + 1), "Leave with Ctrl-]."), until="")
        terminal.type("\r\x1a\x1c~.\r~^Z\r\x01c\x01x\x01h\r")  # of the shell, ssh, and QEMU's own monitor
        terminal.type("\x1d")
        shown = terminal.wait_for("Left the console", 60)
        assert "(qemu)" not in shown
        assert "VNC" in choose(terminal, ("5", "VLANs "))
        # A window that is closed in a console ends the session.
        choose(terminal, ("9", "VM ID"), (str(deployed_slice + 1), "Leave with Ctrl-]."), until="")
    wait_until(lambda: not door.processes(), "the end of the session", 60)


def test_a_pipe_that_breaks_while_deleting_lets_it_come_to_its_end(door: StudentDoor, deployed_slice: int) -> None:
    client = subprocess.Popen(
        door.ssh("alice", "-T", f"cloud@{ADDRESS}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert client.stdin
    assert client.stdout
    client.stdin.write(f"{PASSWORDS['alice']}\n7\n{deployed_slice}\ny\n".encode())
    client.stdin.flush()
    received = b""
    while b"[remove]" not in received:
        piece = client.stdout.read1(4096)  # type: ignore[attr-defined]
        assert piece, received
        received += piece
    client.kill()
    client.communicate()
    wait_until(lambda: not door.processes(), "the end of the session", 90)
    assert "You have no slices yet" in door.piped("alice", stdin=f"{PASSWORDS['alice']}\n5\n0\n")
    for worker in ("worker1", "worker2"):
        listed = door.lab.exec(worker, ["sh", "-c", "ls /home/ubuntu/vm_images; ps -eo args"]).stdout
        assert f"slice-{deployed_slice}" not in listed
        assert f"slice{deployed_slice}-" not in listed


def test_no_password_is_in_any_log_of_the_account(door: StudentDoor) -> None:
    door.piped("mallory", stdin="a wrong password\n")
    logs = door.root("cd /var/lib/cloud; cat database.yaml.audit/* database.yaml.logins /var/log/sshd.console")
    assert '"log in"' in logs
    for word in (*PASSWORDS.values(), "a wrong password"):
        assert word not in logs
    assert door.root("ls /var/lib/cloud/*.crash.log 2>/dev/null || true") == ""

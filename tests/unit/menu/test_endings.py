"""Signals, lost terminals and restricted sessions: changes end whole, and only the menu leads out."""

from __future__ import annotations

import copy
import io
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from core.status import SliceStatus
from menu.endings import Ended
from menu.progress import Progress
from menu.screen import OutputLost, Screen
from remote.events import Event, StageStarted
from tests.support.desk import Desk
from tests.support.paths import ROOT
from tests.support.playing import Terminal, on_terminal, run_program, screen_of, screen_that_is_lost

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def _signals_as_a_terminal_has_them() -> Iterator[None]:
    """Reset the signals, which a start in the background or by `nohup` ignores."""
    numbers = (signal.SIGHUP, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


PROMPTS = {"Username: ": [], "Password: ": ["admin"], "Choose an option: ": ["admin", "admin"]}
BEHIND_THE_MENU = {"Slice name: ": "2", "VM ID: ": "9", "Current password: ": "12", "(y/n): ": "7"}


def at_prompt(terminal: Terminal, prompt: str) -> None:
    for question, answer in [("Username: ", "admin"), ("Password: ", "admin")]:
        if prompt == question:
            break
        terminal.wait_for(question)
        terminal.type(f"{answer}\r")
    if prompt in BEHIND_THE_MENU:
        terminal.wait_for("Choose an option: ")
        terminal.type(f"{BEHIND_THE_MENU[prompt]}\r")
        if prompt == "(y/n): ":
            terminal.wait_for("Slice ID: ")
            terminal.type("1000\r")
    terminal.wait_for(prompt)


EVERY_PROMPT = [*PROMPTS, *BEHIND_THE_MENU]


@pytest.mark.parametrize("prompt", EVERY_PROMPT)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_an_end_by_signal_at_a_prompt_is_clean(prompt: str, number: int) -> None:
    with on_terminal() as terminal:
        at_prompt(terminal, prompt)
        os.kill(terminal.pid, number)
        assert terminal.exit_status() == 128 + number
        assert "Traceback" not in terminal.seen


@pytest.mark.parametrize("prompt", EVERY_PROMPT)
def test_ctrl_z_and_ctrl_backslash_lead_nowhere(prompt: str) -> None:
    with on_terminal() as terminal:
        at_prompt(terminal, prompt)
        for key in ("\x1a", "\x1c"):
            terminal.type(key)
            assert _state(terminal.pid) not in "TtZ"
        os.kill(terminal.pid, signal.SIGTSTP)
        os.kill(terminal.pid, signal.SIGQUIT)
        terminal.type("\x03")
        terminal.wait_for("Goodbye")
        assert terminal.exit_status() == 130


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("key", ["\x1a", "\x1c"])
def test_they_do_not_stop_a_deployment(key: str) -> None:
    with on_terminal(FAKE_PACE="0.05") as terminal:
        at_prompt(terminal, "Choose an option: ")
        terminal.type("6\r")
        terminal.wait_for("deploy: ")
        terminal.type("1000\r")
        terminal.wait_for("prepare")
        terminal.type(key)
        terminal.wait_for("Slice deployed successfully")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_an_end_by_signal_while_deploying_waits_for_its_end(number: int) -> None:
    with on_terminal(FAKE_PACE="0.1") as terminal:
        at_prompt(terminal, "Choose an option: ")
        terminal.type("6\r")
        terminal.wait_for("deploy: ")
        terminal.type("1000\r")
        terminal.wait_for("launch")
        os.kill(terminal.pid, number)
        if number == signal.SIGTERM:
            terminal.wait_for("Interrupted: the steps that have begun")
        assert terminal.exit_status() == 128 + number
        assert "Choose an option" not in terminal.seen


def test_the_status_of_a_failed_child_arrives_also_with_sigchld_ignored() -> None:
    """A child copies images. With an inherited SIG_IGN for SIGCHLD, each child would seem to succeed."""
    calls = "endings.install_signal_handlers(); print(subprocess.call(['false']))"
    program = f"import subprocess; from menu import endings; {calls}"
    deaf = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    started = [sys.executable, "-c", deaf, sys.executable, "-c", program]
    assert subprocess.run(started, capture_output=True, check=True, cwd=ROOT, text=True).stdout == "1\n"


def test_no_core_is_dumped() -> None:
    with on_terminal() as terminal:
        at_prompt(terminal, "Username: ")
        assert resource.prlimit(terminal.pid, resource.RLIMIT_CORE) == (0, 0)


# --- changes of hosts -------------------------------------------------------------------------------------------------


def _deploys_while(desk: Desk, stage: str, does: Callable[[], object], screen: Screen) -> None:
    with Progress(screen) as listen:

        def watch(event: Event) -> None:
            listen(event)
            if isinstance(event, StageStarted) and event.stage.title == stage:
                does()

        # What comes from the signal handler is told to the menu's own listener, as in the program.
        desk.api.deploy_slice("student", 1000, watch)


STAGES = ["preflight", "prepare", "launch", "verify"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_lost_connection_lets_a_deployment_come_to_its_end(desk: Desk, stage: str) -> None:
    desk.ring(2)
    with pytest.raises(Ended) as ended:
        _deploys_while(desk, stage, lambda: signal.raise_signal(signal.SIGHUP), screen_of(io.BytesIO()))
    assert ended.value.status == 129
    assert desk.slice().status == SliceStatus.RUNNING
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.parametrize("stage", STAGES)
def test_an_operators_sigterm_takes_a_deployment_back(desk: Desk, stage: str) -> None:
    desk.ring(2)
    before = copy.deepcopy(desk.cloud.state())
    with pytest.raises(Ended) as ended:
        _deploys_while(desk, stage, lambda: signal.raise_signal(signal.SIGTERM), screen_of(io.BytesIO()))
    assert ended.value.status == 143
    assert (desk.slice().status, desk.cloud.state()) == (SliceStatus.DESIGN, before)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("lasts", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("fails", [False, True])
def test_a_terminal_that_goes_away_tears_nothing_apart(desk: Desk, lasts: int, *, terminal: bool, fails: bool) -> None:
    desk.ring(3)
    before = copy.deepcopy(desk.cloud.state())
    if fails:
        desk.cloud.hosts["10.0.10.2"].faults = {"QEMU": (1, "", "out of luck")}
    with suppress(OutputLost):
        _deploys_while(desk, "", lambda: None, screen_that_is_lost(lasts, terminal=terminal))
    assert desk.slice().status == (SliceStatus.DESIGN if fails else SliceStatus.RUNNING)
    if fails:
        assert desk.cloud.state() == before
    else:
        assert len([port for host in desk.cloud.hosts.values() for port in host.ports if port.startswith("tap_")]) == 9


@pytest.mark.parametrize("lasts", range(6))
def test_a_terminal_that_goes_away_during_a_wait_is_lost_output(lasts: int) -> None:
    screen = screen_that_is_lost(lasts, terminal=True)
    with suppress(OutputLost), screen.waiting("Looking at the hosts"):
        screen.line("A line between")


def test_an_error_during_a_wait_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match=r"^ours$"), screen_of(io.BytesIO(), terminal=True).waiting("Looking"):
        raise ValueError("ours")


# --- restricted sessions ----------------------------------------------------------------------------------------------


def test_a_restricted_session_is_for_one_user_once() -> None:
    done = run_program("--user", "admin", stdin=b"admin\n5\n8\n")
    lines = done.stdout.decode().splitlines()
    assert (done.returncode, done.stderr, lines[0], lines[-1]) == (0, b"", "User: admin", "Goodbye")
    assert "Username: " not in lines
    assert any(line.startswith("Slice 1000") for line in lines)


def test_three_wrong_passwords_end_a_restricted_session() -> None:
    done = run_program("--user", "admin", stdin=b"x\ny\nz\nadmin\n")
    assert done.returncode == 1
    assert done.stdout.count(b"Error: Wrong user name or password") == 3


@pytest.mark.parametrize("name", ["", "a b", "-x", "../admin", "x" * 33, "a\x1b[2J"])
def test_a_restricted_session_has_a_users_name(name: str) -> None:
    done = run_program(f"--user={name}")
    assert done.returncode == (0 if name == "-x" else 2)  # -x is a name that a user may have


def test_a_student_sees_no_detail_of_an_unforeseen_fault(tmp_path: Path) -> None:
    done = run_program("--database", str(tmp_path / "broken.yaml"), "--user", "admin")
    assert done.stderr == (
        b"Error: Something unexpected happened, and the session ends. Tell the operator: there is a report\n"
    )
    assert "Traceback" in (tmp_path / "broken.yaml.crash.log").read_text()


def test_a_restricted_session_shows_one_sentence_about_a_broken_file(tmp_path: Path) -> None:
    database = tmp_path / "database.yaml"
    database.write_text("users: {alice: {}}\n")
    command = [sys.executable, str(ROOT / "cli.py"), "--database", str(database)]
    done = subprocess.run([*command, "--user", "bob"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: The cloud's own files have a fault")
    assert "alice" not in done.stderr
    log = subprocess.run([*command, "log"], capture_output=True, text=True, timeout=60, check=True)
    assert "users.alice: the key username is missing" in log.stdout


RESTRICTED = """
import os, sys
os.environ.update(PYTHONSTARTUP="/etc/passwd", EDITOR="sh", PAGER="sh", INPUTRC="/etc/passwd", COLUMNS="9", LC_ALL="C")
os.environ.update(FORCE_COLOR="1", SSH_ORIGINAL_COMMAND="sh", TERM=sys.argv[1])
from menu import endings
endings.restrict_session()
print(sorted(os.environ), os.environ.get("TERM"), os.environ["INPUTRC"])
print(os.access("/proc/self/environ", os.R_OK), oct(os.umask(0)))
"""


@pytest.mark.parametrize(
    ("term", "taken"), [("xterm-256color", "xterm-256color"), ("../../x", "dumb"), ("", "dumb"), ("a" * 99, "dumb")]
)
def test_a_restricted_session_trusts_no_word_of_the_connection(term: str, taken: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", RESTRICTED, term],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    shown, rest = done.stdout.splitlines()
    assert shown == f"['HOME', 'INPUTRC', 'PATH', 'TERM'] {taken} /dev/null"
    assert rest.endswith("0o77")


READLINE_KEYS = {"possible completions": "\x1b?", "insert completions": "\x1b*", "tilde": "~root\x1b&", "tab": "\t\t"}


def test_no_key_names_files_or_home_folders() -> None:
    with on_terminal() as terminal:
        at_prompt(terminal, "Slice name: ")
        for keys in READLINE_KEYS.values():
            terminal.type(f"{keys}\r")
            shown = terminal.wait_for("Slice name: ")
            assert "cli.py" not in shown
            assert "/root" not in shown
            assert "Error: A slice name has" in shown


@pytest.mark.parametrize(
    "keys", ["\xad\x12\x18\x1d", "\x12x\x18\x1d", "\x1b\r/\x18\x1d", "a\x18(\x18e\x18)\x18e", "\x1bp\x1d"]
)
def test_no_key_ends_the_program(keys: str) -> None:
    """readline 8.2 crashes at a prefix of two keys in a search, and answers to a menu need no search."""
    with on_terminal() as terminal:
        at_prompt(terminal, "Slice name: ")
        terminal.type(f"{keys}\r\r")
        terminal.type("\x15my-slice\r")
        assert "Slice created! ID:" in terminal.wait_for("Choose an option: ")


RESTRICTED_KEYS = [
    *READLINE_KEYS.values(),
    *(f"\x1b{enter}~daemon\x1b{key}" for enter in "\n\r" for key in "&*=\\"),
    "\x1bxdump-functions\r",
    "\x18\x12",
    "\x18\x05",
]
"""Some make readline behave like vi, where other keys show homes and files. Some run its functions."""


def test_in_a_restricted_session_keys_only_edit_the_line() -> None:
    with on_terminal("--user", "admin") as terminal:
        terminal.wait_for("Password: ")
        terminal.type("admin\r")
        terminal.wait_for("Choose an option: ")
        terminal.type("2\r")
        terminal.wait_for("Slice name: ")
        for keys in RESTRICTED_KEYS:
            terminal.type(f"{keys}\r")
            lines = 1 + sum(map(keys.count, "\r\n"))
            shown = "".join(terminal.wait_for("Slice name: ") for _ in range(lines))
            assert shown.count("Error: A slice name has") == lines
            for word in ("cli.py", "/root", "/usr/sbin", "database", "abort"):
                assert word not in shown
        terminal.type("simple\x7f\x15my-slice\r")  # the terminal's own keys: erase, and kill the line
        assert "Slice created! ID:" in terminal.wait_for("Choose an option: ")


EARLY = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"


@pytest.mark.parametrize("module", ["argparse", "yaml", "concurrent"])
def test_ctrl_c_while_the_program_is_still_loading_ends_it_silently(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text(EARLY)
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "user", "list"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # not as a background job has it
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_ctrl_c_while_what_draws_is_loading_ends_it_silently(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text(EARLY)
    with on_terminal(PYTHONPATH=f"{tmp_path}:{ROOT}") as terminal:
        terminal.wait_for("Username: ")
        terminal.type("admin\r")
        terminal.wait_for("Password: ")
        terminal.type("admin\r")
        assert terminal.exit_status() == 130
        assert terminal.seen.strip() == ""


def test_the_next_user_does_not_see_the_last_ones_lines() -> None:
    with on_terminal() as terminal:
        at_prompt(terminal, "Slice name: ")
        terminal.type("my-secret-plan\r")
        terminal.wait_for("Choose an option: ")
        terminal.type("8\r")
        at_prompt(terminal, "Slice name: ")
        terminal.type("\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\r")
        assert "my-secret-plan" not in terminal.wait_for("Choose an option: ")

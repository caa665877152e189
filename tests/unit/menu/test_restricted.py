"""Commands at a restricted session: the words that ssh brings, who may use them, and what attackers try with them."""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import passwords
from core.errors import Refused
from menu import file_commands, restricted
from menu.arguments import parser, restricted_parser
from menu.reach import MANAGER
from menu.restricted import MOST_BYTES, MOST_WORDS, words_of
from menu.screen import Screen
from models import ADMIN
from tests.support.acts import read_log
from tests.support.desk import Desk, open_desk
from tests.support.paths import ROOT

FOR_USERS = (
    *(
        "list",
        "show",
        "quota",
        "validate",
        "create",
        "export",
        "convert",
        "plan",
        "apply",
        "deploy",
        "repair",
        "delete",
    ),
    *("start", "stop", "restart", "reset", "snapshot", "restore", "snapshots", "add-vm", "remove-vm", "link"),
    *("unlink", "set-link", "capture", "console", "connect", "ssh-config", "graph", "check", "keys", "help"),
)
"""The commands that a restricted session may have."""

FOR_OPERATORS = (
    *("image", "user", "host", "log", "doctor", "prove", "database", "resume", "completion", "names"),
    "authorized-keys",
)


# --- words ------------------------------------------------------------------------------------------------------------

PRINTABLE = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=40)


@given(st.lists(PRINTABLE, max_size=12))
def test_quoted_words_arrive_as_they_were(words: list[str]) -> None:
    assert words_of(shlex.join(words).encode()) == words


@given(st.binary(max_size=200))
def test_any_bytes_are_words_or_one_sentence(command: bytes) -> None:
    with suppress(Refused):
        assert all(word.isprintable() for word in words_of(command))
        assert command.decode().isprintable()


@pytest.mark.parametrize("extra", ["\n", "\0", "\r", "\t", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff"])
def test_a_character_that_controls_something_is_refused(extra: str) -> None:
    with pytest.raises(Refused, match="one line of printable characters"):
        words_of(f"list{extra}--json".encode())


def test_the_limits_are_exact() -> None:
    assert words_of(b"a " * MOST_WORDS) == ["a"] * MOST_WORDS
    assert words_of(b"a" * MOST_BYTES) == ["a" * MOST_BYTES]
    with pytest.raises(Refused, match="at most 200 words"):
        words_of(b"a " * (MOST_WORDS + 1))
    for command in (b"a" * (MOST_BYTES + 1), b"\n" * 100_000, b"'" * 100_000):
        with pytest.raises(Refused, match="at most 8 KiB"):
            words_of(command)


@pytest.mark.parametrize("command", ["'", '"', "list '", "list \\", "list \"a'"])
def test_an_open_quotation_is_refused(command: str) -> None:
    with pytest.raises(Refused, match="no second half"):
        words_of(command.encode())


# --- commands ---------------------------------------------------------------------------------------------------------


def _commands(of: Any) -> dict[str, Any]:
    return next(action.choices for action in of._actions if action.dest in {"command", "action"} and action.choices)


def _leaves(of: Any) -> Iterator[Any]:
    below = [action.choices.values() for action in of._actions if action.nargs == "A..."]
    yield of
    for commands in below:
        for command in commands:
            yield from _leaves(command)


def test_a_restricted_session_has_the_commands_of_users_only() -> None:
    ours, all_of_them = _commands(restricted_parser()), _commands(parser(Path("database.yaml")))
    assert set(ours) <= set(FOR_USERS)
    assert set(all_of_them) - set(ours) <= set(FOR_OPERATORS)


def test_no_command_names_another_user_or_another_file() -> None:
    for command in _leaves(restricted_parser()):
        assert command.restricted
        options = {option for action in command._actions for option in action.option_strings}
        assert not options & {"--as", "--user", "--database"}


PLAIN_WORDS = {"template", "flavor", "name", "ends", "link", "realm"}
"""Words that are compared with what the cloud has, and that no program opens."""


def test_no_word_is_a_path() -> None:
    taken = set()
    for command in _leaves(restricted_parser()):
        for action in command._actions:
            if action.nargs not in {0, "A..."} and not action.choices:
                with suppress(argparse.ArgumentTypeError):
                    taken.add(action.dest if (action.type or str)("/etc/passwd") else "")
    assert taken <= PLAIN_WORDS


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Return a cloud with a ring of `student` and a slice of `ann`; each has a password of their own."""
    desk = open_desk(tmp_path_factory.mktemp("cloud"))
    desk.ring(3)
    desk.api.accounts.set_role("admin", ADMIN)
    desk.api.accounts.add("ann", "long enough")
    for name in ("student", "admin"):
        desk.api.accounts.set_password(name, f"{name} in a test")
    desk.ok(desk.api.create_slice("ann", "private"))
    return desk


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(cloud: Desk, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return a function that carries out a command for a user and returns its exit status, output and errors."""

    def carry_out(command: str | bytes, user: str = "student", desk: Desk = cloud) -> tuple[int, str, str]:
        capfd.readouterr()
        raw = command.encode() if isinstance(command, str) else command
        with Path(os.devnull).open(encoding="utf-8") as nothing:
            monkeypatch.setattr(sys, "stdin", nothing)
            status = restricted.carry_out(desk.api, user, raw, Screen(sys.stdout, terminal=False))
        return status, *capfd.readouterr()

    return carry_out


def test_a_command_is_carried_out_for_the_user_of_the_session(cloud: Desk, call: Call) -> None:
    assert call("list") == (0, "Slice 1000: ring, design, 3 VMs, 3 links\n", "")
    assert call("list", "ann")[1] == "Slice 1004: private, design, 0 VMs, 0 links\n"
    status, output, _ = call("deploy 'ring'")
    assert (status, output) == (0, "Slice deployed successfully\n")
    acts = [(entry["action"], entry["by"]) for entry in read_log(cloud.path) if entry["actor"] == "student"]
    assert acts[-2:] == [("deploy", None), ("deploy", None)]
    assert ("run command", None) in acts
    with pytest.raises(Refused, match="needs --yes"):
        call("delete ring")
    assert call("delete ring --yes")[:2] == (0, "Slice deleted\n")
    cloud.ring(3)


def test_the_slices_of_others_are_not_there(call: Call) -> None:
    for command in ("show private", "show 1004", "export private", "deploy 1004", "delete private --yes", "graph 1004"):
        with pytest.raises(Refused, match=r"You have no slice (private|1004); your slices: "):
            call(command)


@pytest.mark.parametrize("command", ["help", "--help", "-h", "list --help", "create -h"])
def test_help_is_there(call: Call, command: str) -> None:
    status, output, errors = call(command)
    assert (status, errors) == (0, "")
    assert output.startswith("usage: ssh cloud@manager")
    for word in ("--database", "--as", "--user", "doctor", "prove", "passwd", "cli.py"):
        assert word not in output


HOSTILE = [
    *FOR_OPERATORS,
    *("user list", "user passwd student", "log --last 1", "doctor --fix --yes", "host forget 10.0.10.1 --yes"),
    *("--database /tmp/x.yaml list", "--as admin list", "list --as admin", "--user admin list", "--user=admin list"),
    *("--data x list", "--a admin list", "li", "dep ring", "show ring --sec", "delete ring --ye", "sh", "sh -c id"),
    *("scp -t /tmp", "scp -f /etc/passwd", "rsync --server -vlogDtprze.iLsfxC . /tmp", "internal-sftp", "tmux"),
    *("/usr/lib/openssh/sftp-server", "list; id", "list && id", "list | cat", "list > /tmp/x", "list `id`", "$(id)"),
    *("list\\;id", "'list --json'", '"list;id"', "''", " ", "' '", "--", "-- --", "-", "@/etc/passwd", "list @x"),
    *("validate /etc/passwd", "validate /etc/x.yaml", "validate x.yaml", "validate ./-", "validate /dev/stdin"),
    *("validate ''", "create /etc/x.yaml", "create --template ring:3 --name a x.yaml", "convert /etc/x.conf"),
    *("convert ../x.gns3", "validate -- /tmp/x.yaml", "validate -x.yaml", "validate - -", "validate http://x/y.yaml"),
]


@pytest.mark.parametrize("command", HOSTILE)
def test_what_is_no_command_of_a_user_is_one_sentence_and_opens_nothing(cloud: Desk, call: Call, command: str) -> None:
    before, opened = cloud.path.read_bytes(), _opened()
    status, output, errors = call(command)
    assert (status, output) == (2, "")
    assert errors.startswith("Error: ")
    assert errors.endswith("help says more\n")
    assert len(errors.splitlines()) == 1
    assert cloud.path.read_bytes() == before
    allowed = (str(cloud.path.parent), str(ROOT), sys.base_prefix, os.devnull)
    assert [path for path in _opened()[len(opened) :] if not path.startswith(allowed)] == []


_PATHS: list[str] = []


def _note(event: str, args: tuple[object, ...]) -> None:
    if event in {"open", "os.listdir", "subprocess.Popen", "os.exec"} and _PATHS and isinstance(args[0], str | bytes):
        _PATHS.append(os.fsdecode(args[0]))


def _opened() -> list[str]:
    """Return the paths that this process has opened since the first call."""
    if not _PATHS:
        _PATHS.append("")
        sys.addaudithook(_note)
    return [*_PATHS]


PARSER = restricted_parser()


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from([*FOR_USERS, "-", "--yes", "--json", "ring", "--name", "x"]), PRINTABLE)))
def test_any_words_are_parsed_or_refused_as_wrong(words: list[str]) -> None:
    with suppress(SystemExit):
        args = PARSER.parse_args(words)
        assert args.command in FOR_USERS
        assert getattr(args, "file", None) in {None, "-"}


# --- who may ----------------------------------------------------------------------------------------------------------


def test_an_admin_has_the_menu_only(call: Call) -> None:
    with pytest.raises(Refused, match=r"^The account of an admin has the menu only here"):
        call("list", "admin")


def test_a_user_without_an_account_has_nothing(call: Call) -> None:
    with pytest.raises(Refused, match="There is no user mallory any more"):
        call("list", "mallory")


def documented(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


@pytest.mark.parametrize("word", ["student", "admin"])
@pytest.mark.parametrize("digest_of", [passwords.hash_password, documented])
def test_a_shipped_password_is_replaced_first(
    desk: Desk, call: Call, word: str, digest_of: Callable[[str], str]
) -> None:
    with desk.database.transaction() as state:
        state.users["student"].password_hash = digest_of(word)
    with pytest.raises(Refused, match="Your password came with the program"):
        call("list", desk=desk)
    desk.path.write_text(f"{desk.path.read_text()}login: {{shipped_passwords: keep}}\n")
    assert call("list", desk=desk)[0] == 0


def test_a_menu_tells_the_manager_without_another_derivation(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivation takes 50 ms and 16 MiB, and thirty students may log in at once."""
    monkeypatch.setattr(passwords, "_derive", None)
    assert desk.ok(desk.api.command_address("student")) == MANAGER


def test_commands_can_be_switched_off(desk: Desk, call: Call) -> None:
    desk.api.accounts.set_password("student", "long enough")
    text = desk.path.read_text()
    desk.path.write_text(f"{text}login: {{commands: off}}\n")
    with pytest.raises(Refused, match="Commands are switched off here"):
        call("list", desk=desk)
    desk.path.write_text(f"{text}login: {{commands: on}}\n")
    assert call("list", desk=desk)[0] == 0


def test_a_command_holds_one_of_the_places_of_its_account(cloud: Desk, call: Call) -> None:
    held = [cloud.ok(cloud.api.open_session("student")) for _ in range(8)]
    try:
        with pytest.raises(Refused, match="student has 8 sessions open, which is the limit"):
            call("list")
        assert call("list", "ann")[0] == 0
    finally:
        for place in held:
            place.close()
    for _ in range(9):
        assert call("list")[0] == 0
    with closing(cloud.ok(cloud.api.open_session("student"))):
        assert call("user list")[0] == 2


def test_input_that_stays_silent_is_given_up(
    cloud: Desk, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_commands, "SILENT_SECONDS", 0.1)
    reading, writing = os.pipe()
    os.write(writing, b"slice: half")
    with os.fdopen(reading) as silent:
        monkeypatch.setattr(sys, "stdin", silent)
        with pytest.raises(Refused, match="Standard input was silent"):
            restricted.carry_out(cloud.api, "student", b"validate -", Screen(sys.stdout, terminal=False))
    os.close(writing)
    with closing(cloud.ok(cloud.api.open_session("student"))):
        assert capfd.readouterr() == ("", "")


# --- the real program -------------------------------------------------------------------------------------------------


def brought(desk: Desk, command: str, *, user: str = "student", stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program as sshd's forced command does."""
    argv = (sys.executable, "-Es", str(ROOT / "cli.py"), "--database", str(desk.path), "--user", user)
    environment = {"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": command}
    return subprocess.run(
        argv, cwd="/", env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_program_takes_the_command_from_sshd(cloud: Desk) -> None:
    done = brought(cloud, "validate -", stdin="slice: a\nvms: {r1: cirros}\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "-: slice a: 1 VM, 0 links\n", "")
    done = brought(cloud, "list --as admin")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: unrecognized arguments: --as admin; ssh cloud@manager help says more\n"
    done = brought(cloud, "list\nuser list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: A command is one line of printable characters in UTF-8")
    done = brought(cloud, "x" * 100_000)
    assert done.stderr.startswith("Error: A command has at most 8 KiB")


def test_without_a_command_the_menu_opens(cloud: Desk) -> None:
    assert brought(cloud, "", stdin="student in a test\n0\n").stdout.startswith("User: student\nPassword: \n")


def test_an_operators_program_ignores_the_variable(cloud: Desk) -> None:
    argv = (sys.executable, str(ROOT / "cli.py"), "--database", str(cloud.path), "list")
    environment = os.environ | {"SSH_ORIGINAL_COMMAND": "quota"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "of student" in done.stdout


def test_a_fault_of_the_file_is_for_the_operator(cloud: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "database.yaml"
    broken.write_text(cloud.path.read_text().replace("quota_vms: 6", "quota_vms: six"))
    done = brought(Desk(cloud.api, broken, cloud.cloud), "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: The cloud's own files have a fault")
    assert "six" not in done.stderr

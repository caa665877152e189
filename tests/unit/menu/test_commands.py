"""Commands about slices: the real program on a real file, and changes of hosts on fake hosts."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from core.errors import CloudError, Interrupted, Refused
from core.status import SliceStatus
from menu import commands
from menu.arguments import parser
from menu.progress import Progress
from menu.screen import Screen
from models import ADMIN
from remote.events import StepDone
from storage.act_files import folder_of
from tests.support.acts import read_log
from tests.support.desk import NETWORK, Desk, open_desk
from tests.support.paths import ROOT
from tests.support.playing import run_command


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Return a cloud with a ring of `student`, and empty slices of `student`, `admin` and `ann`."""
    desk = open_desk(tmp_path_factory.mktemp("cloud"))
    desk.ring(4)
    desk.api.accounts.set_role("admin", ADMIN)
    desk.api.accounts.add("ann", "long enough")
    for owner, name in (("student", "lab"), ("admin", "lab"), ("admin", "lab2"), ("ann", "radio"), ("ann", "")):
        desk.ok(desk.api.create_slice(owner, name))
    return desk


def run(desk: Desk, *words: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of `cli.py` with these words."""
    return run_command(desk.path, *words)


def first_line(desk: Desk, *words: str) -> str:
    status, output, errors = run(desk, *words)
    assert (status, errors) == (0, "")
    return output.partition("\n")[0]


def test_a_plan_has_titles_and_writes_nothing(desk: Desk) -> None:
    before, entries = desk.path.read_bytes(), [*read_log(desk.path)]
    status, output, errors = run(desk, "plan", "ring")
    lines = output.splitlines()
    assert (status, errors) == (0, "")
    assert lines[0] == "27 changes and 42 checks on 3 hosts to deploy slice 1000 (ring) of student"
    assert len(lines) < 50
    assert max(map(len, lines)) <= 80
    assert (desk.path.read_bytes(), [*read_log(desk.path)]) == (before, entries)


def test_names_are_those_of_slices_or_of_the_vms_of_one(desk: Desk) -> None:
    before = desk.path.read_bytes(), [*read_log(desk.path)]
    assert run(desk, "names", "--as", "student") == (0, "ring\nlab\n", "")
    assert run(desk, "names", "ring") == (0, "vm0\nvm1\nvm2\nvm3\n", "")
    assert run(desk, "names", "none")[:2] == (1, "")
    assert (desk.path.read_bytes(), [*read_log(desk.path)]) == before


@pytest.mark.parametrize(("option", "shows_scripts"), [("--commands", False), ("--scripts", True)])
def test_a_plan_shows_commands_and_scripts_on_request(desk: Desk, option: str, *, shows_scripts: bool) -> None:
    status, output, _ = run(desk, "plan", "ring", option)
    assert status == 0
    assert "    # ip" in output or "    # sh make-taps.sh" in output
    assert ("<<'END'" in output) == shows_scripts


@pytest.mark.parametrize("words", [("plan", "ring", "--as", "student"), ("--as", "student", "plan", "ring")])
def test_a_plan_is_made_for_a_user(desk: Desk, words: tuple[str, ...]) -> None:
    assert first_line(desk, *words).endswith("to deploy slice 1000 (ring)")


def test_an_empty_slice_has_nothing_to_do(desk: Desk) -> None:
    assert run(desk, "plan", "radio") == (0, "nothing to do\n", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("plan", "lab3"), "You have no slice lab3; your slices: "),
        (("plan", "ring", "--as", "ann"), "You have no slice ring; your slices: "),
        (("plan", "ring", "--as", "bob"), "There is no user bob; python3 cli.py user list shows all"),
        (("plan", "r"), "r may be any of these slices: 1000 (ring), "),
    ],
)
def test_a_plan_that_cannot_be_shown_is_one_sentence(desk: Desk, words: tuple[str, ...], sentence: str) -> None:
    status, output, errors = run(desk, *words)
    assert (status, output) == (1, "")
    assert errors.startswith(f"Error: {sentence}")
    assert len(errors.splitlines()) == 1


# --- slices -----------------------------------------------------------------------------------------------------------


def test_slices_are_listed_with_the_own_ones_only_for_a_student(desk: Desk) -> None:
    assert run(desk, "list", "--as", "student") == (
        0,
        "Slice 1000: ring, design, 4 VMs, 4 links\nSlice 1005: lab, design, 0 VMs, 0 links\n",
        "",
    )
    status, output, errors = run(desk, "list")
    assert (status, errors) == (0, "")
    assert "Slice 1000: ring, design, 4 VMs, 4 links, of student\n" in output
    assert output.splitlines() == sorted(output.splitlines())


def test_slices_are_listed_for_programs(desk: Desk) -> None:
    status, output, errors = run(desk, "list", "--json", "--as", "student")
    assert (status, errors) == (0, "")
    ring, lab = json.loads(output)["slices"]
    assert ring == {"slice_id": 1000, "name": "ring", "owner": "student", "status": "design", "vms": 4, "links": 4}
    assert [*lab] == ["slice_id", "name", "owner", "status", "vms", "links"]


def test_a_user_without_slices_gets_an_empty_list(desk: Desk) -> None:
    desk.api.accounts.add("new", "long enough")
    assert run(desk, "list", "--as", "new") == (0, "", "new has no slices yet\n")
    assert json.loads(run(desk, "list", "--json", "--as", "new")[1]) == {"slices": []}


def test_a_slice_is_shown_as_text_and_as_its_record(desk: Desk) -> None:
    status, output, errors = run(desk, "show", "ring", "--as", "student")
    assert (status, errors) == (0, "")
    assert output.startswith("Slice 1000: ring, design, VLANs 100-119\n  VM 1001: vm0, worker ")
    status, output, errors = run(desk, "show", "ring", "--json")
    assert (status, errors) == (0, "")
    assert json.loads(output) == desk.slice().to_dict()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "lab3"), "You have no slice lab3; your slices: "),
        (("show", "ring", "--as", "ann"), "You have no slice ring; your slices: "),
        (("delete", "r"), "r may be any of these slices: 1000 (ring), "),
        (("list", "--as", "bob"), "There is no user bob; python3 cli.py user list shows all"),
        (("quota", "--as", "bob"), "There is no user bob; python3 cli.py user list shows all"),
        (("delete", "ring"), "delete asks before it removes slice 1000 (ring); without a terminal to ask on, it needs"),
        (("deploy", "radio", "--dry-run"), "Slice 1008 has no VMs; add one first"),
        (("repair", "ring", "--dry-run"), "Slice 1000 is in design; only a running slice is repaired: deploy it"),
        (("repair", "ring"), "Slice 1000 is in design; only a running slice is repaired: deploy it"),
        (("console", "ring", "vm0"), "console joins a terminal with the VM: call it without a pipe, and over ssh with"),
        (("console", "ring", "vm"), "vm may be any of these VMs: 1001 (vm0), 1002 (vm1), 1003 (vm2), 1004 (vm3); use"),
        (("console", "ring", "pc"), "Slice 1000 has no VM pc; its VMs: 1001 (vm0), 1002 (vm1), 1003 (vm2), 1004 (vm3)"),
        (("console", "radio", "pc"), "Slice 1008 has no VM pc; its VMs: none yet, add one first"),
    ],
)
def test_a_refusal_is_one_sentence_and_changes_nothing(desk: Desk, words: tuple[str, ...], sentence: str) -> None:
    before = desk.path.read_bytes()
    status, output, errors = run(desk, *words)
    assert (status, output) == (1, "")
    assert errors.startswith(f"Error: {sentence}")
    assert len(errors.splitlines()) == 1
    assert desk.path.read_bytes() == before


@pytest.mark.parametrize(
    "words", [("show",), ("show", "a b"), ("console", "ring"), ("console", "ring", "a/b"), ("list", "ring")]
)
def test_wrong_words_have_a_status_of_their_own(desk: Desk, words: tuple[str, ...]) -> None:
    status, output, errors = run(desk, *words)
    assert (status, output, len(errors.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    ("command", "end"), [("deploy", "hosts to deploy"), ("delete", "20 changes on 3 hosts to delete")]
)
def test_a_dry_run_shows_the_plan_and_changes_nothing(desk: Desk, command: str, end: str) -> None:
    before, entries = desk.path.read_bytes(), [*read_log(desk.path)]
    line = first_line(desk, command, "ring", "--dry-run", "--as", "student")
    assert line.endswith(f"{end} slice 1000 (ring)")
    assert (desk.path.read_bytes(), [*read_log(desk.path)]) == (before, entries)


def test_a_plan_of_a_deletion_says_what_is_removed(desk: Desk) -> None:
    output = run(desk, "delete", "ring", "--dry-run")[1]
    assert "removes" in output.splitlines()[1]
    assert "undo" not in output
    assert output.splitlines()[2] == "remove"
    assert output.endswith("shared: until its last slice\n")


# --- slices on fake hosts ---------------------------------------------------------------------------------------------


@pytest.fixture
def ring(tmp_path: Path) -> Desk:
    """Return a cloud on fake hosts with a ring of `student`."""
    desk = open_desk(tmp_path)
    desk.api.accounts.set_role("admin", ADMIN)
    desk.ring(3)
    return desk


Carry = Callable[..., tuple[int, str, str]]


@pytest.fixture
def carry(ring: Desk, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Carry:
    """Return a function that carries out a command and returns its exit status, output and errors."""

    def call(*words: str) -> tuple[int, str, str]:
        with Path(os.devnull).open(encoding="utf-8") as nothing:
            monkeypatch.setattr(sys, "stdin", nothing)
            args = parser(ring.path).parse_args(words)
            capfd.readouterr()
            status = commands.carry_out(ring.api, args, Screen(sys.stdout, terminal=False))
            return status, *capfd.readouterr()

    return call


def test_a_slice_is_deployed_repaired_and_deleted(ring: Desk, carry: Carry) -> None:
    status, output, errors = carry("deploy", "ring")
    assert (status, output) == (0, "Slice deployed successfully\n")
    assert "[launch] 10.0.10.1: QEMU ... done in " in errors
    assert ring.slice().status == SliceStatus.RUNNING
    assert carry("repair", "1000")[:2] == (0, "Nothing was missing: 0 changes\n")
    for host in ring.cloud.hosts.values():
        host.processes.clear()
    status, output, _ = carry("repair", "rin")
    assert status == 0
    assert "  brought back: QEMU (" in output
    status, output, errors = carry("delete", "ring", "--yes")
    assert (status, output) == (0, "Slice deleted\n")
    assert "[remove] 10.0.10.1: " in errors
    assert ring.ok(ring.api.list_slices("student")) == []


def test_a_deployment_waits_until_all_vms_are_ready(ring: Desk, carry: Carry) -> None:
    signs = {1001: ["lease"], 1002: ["lease", "ssh"], 1003: ["lease"]}
    ring.cloud.connect(NETWORK).signs = {str(vm_id): words for vm_id, words in signs.items()}
    status, output, errors = carry("deploy", "ring", "--wait", "30")
    assert status == 0
    assert output.startswith("Slice deployed successfully\n3 VMs ready after ")
    assert "VM 1001 (vm0): process, address by DHCP; ready" in errors.splitlines()


def test_a_deployment_with_vms_that_are_not_ready_in_time_has_a_status_of_its_own(ring: Desk, carry: Carry) -> None:
    ring.cloud.connect(NETWORK).signs = {"1001": ["lease"]}
    status, output, errors = carry("deploy", "ring", "--wait", "0")
    assert (status, output) == (3, "Slice deployed successfully\n")
    assert errors.splitlines()[-1].startswith("Not ready after 0.")
    assert "vm1 (waiting for: address by DHCP), vm2 (" in errors.splitlines()[-1]
    assert ring.slice().status == SliceStatus.RUNNING


@pytest.mark.parametrize("word", ["-1", "soon", "1.5", "86401", ""])
def test_a_wait_is_a_number_of_seconds(desk: Desk, word: str) -> None:
    status, _, errors = run(desk, "deploy", "ring", f"--wait={word}")
    assert status == 2
    assert "a wait is a whole number of seconds from 0 to 86400" in errors


def test_a_running_slice_is_not_deployed_again(carry: Carry) -> None:
    assert carry("deploy", "ring")[0] == 0
    for words in (("deploy", "ring"), ("deploy", "ring", "--dry-run")):
        with pytest.raises(Refused, match=r"^Slice already running$"):
            carry(*words)


def test_passwords_are_shown_on_request_only(ring: Desk, carry: Carry) -> None:
    carry("deploy", "ring")
    passwords = [vm.vnc_secret or "" for vm in ring.slice().vms]
    assert all(passwords)
    for option in ((), ("--json",)):
        hidden, shown = carry("show", "ring", *option)[1], carry("show", "ring", "--secrets", *option)[1]
        assert not [password for password in passwords if password in hidden]
        assert all(password in shown for password in passwords)
    assert json.loads(carry("show", "ring", "--json", "--secrets")[1]) == ring.slice().to_dict()
    assert all("vnc_secret" not in vm for vm in json.loads(carry("show", "ring", "--json")[1])["vms"])


def test_a_quota_is_shown_as_text_and_for_programs(carry: Carry) -> None:
    status, output, errors = carry("quota", "--as", "student")
    assert (status, errors) == (0, "")
    assert output.startswith("Quota: 3 of 6 VMs used, 1 of 4 slices\n")
    record = json.loads(carry("quota", "--json", "--as", "student")[1])
    assert {name: value for name, value in record.items() if isinstance(value, int)} == {
        "used_vms": 3,
        "quota_vms": 6,
        "used_slices": 1,
        "quota_slices": 4,
    }
    assert record["workers"]["10.0.10.1"]["up"] is True
    assert "cirros" in record["flavors"]


def test_ctrl_c_rolls_a_deployment_back(ring: Desk, carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Progress.__call__

    def press(progress: Progress, event: Any) -> None:
        accept(progress, event)
        if isinstance(event, StepDone) and event.stage.title == "prepare":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "__call__", press)
    with pytest.raises(Interrupted, match="what was done has been taken back and the slice is in design"):
        carry("deploy", "ring")
    assert ring.slice().status == SliceStatus.DESIGN


def test_the_audit_log_notes_acts_of_the_operator(ring: Desk, carry: Carry) -> None:
    carry("deploy", "ring", "--as", "student")
    with pytest.raises(CloudError):
        carry("deploy", "ring", "--as", "student")
    entries = [entry for entry in read_log(ring.path) if entry["action"] in {"create slice", "deploy"}]
    assert [(entry["actor"], entry["by"], entry["result"]) for entry in entries] == [
        ("student", None, "ok"),
        ("student", "operator", "begun"),
        ("student", "operator", "ok"),
        ("student", "operator", "Slice already running"),
    ]
    line = run(ring, "log", "--slice", "1000", "--last", "1")[1]
    assert "  student (by operator)  deploy slice 1000  " in line


def all_of(descriptor: int) -> str:
    """Return all that a terminal shows, when its program has closed it."""
    shown = b""
    with suppress(OSError):  # EIO is the end
        while True:
            shown += os.read(descriptor, 65536)
    os.close(descriptor)
    return shown.decode()


@pytest.mark.parametrize(("answer", "status", "output"), [("y", 0, "Slice deleted\n"), ("n", 1, ""), ("..", 1, "")])
def test_a_deletion_asks_on_a_terminal(
    ring: Desk,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    status: int,
    output: str,
) -> None:
    user, program = pty.openpty()
    monkeypatch.setenv("TERM", "dumb")
    args = parser(ring.path).parse_args(["delete", "ring"])
    with os.fdopen(program) as reading, os.fdopen(os.dup(program), "w") as writing:
        monkeypatch.setattr(sys, "stdin", reading)
        monkeypatch.setattr(sys, "stderr", writing)
        os.write(user, f"{answer}\n".encode())
        assert commands.carry_out(ring.api, args, Screen(sys.stdout, terminal=False)) == status
    asked = all_of(user)
    assert "Delete slice 1000 (ring) of student with its VMs vm0, vm1, vm2? (y/n): " in asked
    assert capfd.readouterr().out == output
    assert ("Nothing was deleted" in asked) == (status == 1)
    assert bool(ring.ok(ring.api.list_slices("student"))) == (status == 1)


def test_a_log_that_cannot_be_written_is_a_warning(ring: Desk, carry: Carry) -> None:
    folder = folder_of(ring.path)
    folder.rename(folder.with_suffix(".away"))
    folder.write_text("no folder")
    status, output, errors = carry("deploy", "ring")
    assert (status, output) == (3, "Slice deployed successfully\n")
    assert errors.endswith("of its folder\n")
    assert "Warning: The audit log cannot be written" in errors


# --- slice files ------------------------------------------------------------------------------------------------------

RING = """slice: mine
vms: {a: cirros, b: {flavor: cirros, internet: true}}
links: [a - b]
"""


def piped(desk: Desk, text: bytes, *words: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of `cli.py` with these words and this standard input."""
    return run_command(desk.path, *words, stdin=text)


def test_a_slice_file_is_checked_and_nothing_is_written(desk: Desk, tmp_path: Path) -> None:
    before, entries = desk.path.read_bytes(), [*read_log(desk.path)]
    file = tmp_path / "mine.slice.yaml"
    file.write_text(RING)
    assert run(desk, "validate", str(file)) == (0, f"{file}: slice mine: 2 VMs, 1 link\n", "")
    assert piped(desk, RING.encode(), "validate", "-") == (0, "-: slice mine: 2 VMs, 1 link\n", "")
    assert (desk.path.read_bytes(), [*read_log(desk.path)]) == (before, entries)


def test_all_faults_of_a_slice_file_are_shown(desk: Desk) -> None:
    text = RING.replace("a: cirros", "a: tiny").replace("a - b", "a - c")
    status, output, errors = piped(desk, text.encode(), "validate", "-")
    assert (status, output) == (1, "")
    assert errors.splitlines() == [
        "Error: -, line 2: there is no flavor `tiny`; there are cirros, ubuntu",
        "Error: -, line 3: there is no VM `c`; add it to `vms`",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory); name a file that you may read"),
        (b"\xff\xfe", "is not UTF-8 text; save it as UTF-8"),
        (b" " * (1 << 20) + b"x", "line 1: the file is larger than 1024 KiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    desk: Desk, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    status, output, errors = run(desk, "validate", str(file))
    assert (status, output) == (1, "")
    assert errors.startswith("Error: ")
    assert errors.count("\n") == 1
    assert words in errors


def test_a_slice_is_exported_and_the_file_is_valid(desk: Desk) -> None:
    status, text, errors = run(desk, "export", "ring", "--as", "student")
    assert (status, errors) == (0, "")
    assert text.startswith("# yaml-language-server: $schema=slice.schema.json\nslice: ring\nvms:\n")
    assert piped(desk, text.encode(), "validate", "-") == (0, "-: slice ring: 4 VMs, 4 links\n", "")
    assert run(desk, "export", "ring", "--as", "student")[1] == text


def test_an_export_says_which_names_it_replaced(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("ann", "7up"))
    status, text, errors = run(desk, "export", "7up", "--as", "ann")
    assert status == 3
    assert "slice: n7up\n" in text
    assert errors == "Warning: slice 7up is called n7up in the file: names begin with a letter there\n"


def test_a_picture_has_every_vm_and_link(desk: Desk) -> None:
    status, output, errors = run(desk, "graph", "ring", "--as", "student")
    assert (status, errors) == (0, "")
    assert output.splitlines()[:7] == [
        "Slice 1000: ring (design)",
        "",
        "   1   2   3   4",
        "   ●───●   │   │   vm0-vm1",
        "   │   ●───●   │   vm1-vm2",
        "   │   │   ●───●   vm2-vm3",
        "   ●───┼───┼───●   vm3-vm0",
    ]
    assert run(desk, "graph", "ring", "--format", "mermaid")[1].startswith("---\ntitle: ")
    assert run(desk, "graph", "ring", "--format", "dot")[1].startswith("graph slice {")


def test_an_svg_without_graphviz_says_what_to_install(desk: Desk) -> None:
    command = (sys.executable, "cli.py", "--database", str(desk.path), "graph", "ring", "--format", "svg")
    bare = {**os.environ, "PATH": "/nonexistent"}
    done = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: neato is not installed on this machine; run apt-get install graphviz\n"


def test_a_topology_of_another_tool_becomes_a_slice_file_that_is_valid(desk: Desk) -> None:
    status, text, errors = run(desk, "convert", "tests/data/imports/ring.clab.yml")
    assert status == 3
    assert "Warning: left out: `binds` of nodes\n" in errors
    assert piped(desk, text.encode(), "validate", "-")[0] == 0
    assert run(desk, "convert", "tests/data/imports/ring.clab.yml", "--from", "containerlab")[1] == text


def test_another_file_is_no_topology(desk: Desk) -> None:
    status, output, errors = piped(desk, b"a: 1", "convert", "-")
    assert (status, output) == (1, "")
    assert errors.startswith("Error: this is no topology of containerlab, netlab, cml, gns3, kathara; say where")


def test_a_lost_standard_error_keeps_the_exit_status(desk: Desk) -> None:
    command = f"{sys.executable} cli.py --database {desk.path} convert tests/data/imports/ring.clab.yml"
    done = subprocess.run(
        ["sh", "-c", f"{command} 2>/dev/full"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stdout.startswith("# yaml-language-server")


def test_a_pipe_with_the_name_of_a_file_is_not_waited_for(desk: Desk, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lab.yaml")
    status, _, errors = run(desk, "validate", str(tmp_path / "lab.yaml"))
    assert (status, errors) == (1, f"Error: {tmp_path}/lab.yaml is not a file; name a file, or - for standard input\n")

"""Batches, run by a real shell: statuses, streams, guards, input, and incomplete scripts."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
import zlib
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.inventory import Inventory
from deployment import DeploymentAPI
from remote import batch
from remote.batch import Batch
from remote.plan import Action, Command, Step, Upload, script_names, shell
from remote.transcript import Outcome, Transcript, UploadWanted
from shell.scripts import load, parts, source
from tests.support.designs import ring_of
from tests.support.paths import PROGRAMS

NONCE = "0123456789abcdef"
ME = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}


def step(*do: Action, lock: bool = False) -> Step:
    return Step("host", "a step", do, lock=lock)


def sh(*words: str) -> Command:
    return Command(("sh", "-c", *words))


def in_shell(
    script: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a script like sshd, in its own session: a batch raises the priority of its session, not the test's."""
    return subprocess.run(
        ["sh", "-s"], input=script.encode(), capture_output=True, env=env or ME, cwd=cwd, check=False, timeout=20,
        start_new_session=True,
    )  # fmt: skip


def run(
    steps: Sequence[Step], *, keep_going: bool = False, cwd: Path | None = None, lock: str = ""
) -> list[Outcome | UploadWanted]:
    """Return the outcomes of a batch; its streams reach the transcript in pieces of three bytes."""
    sent = Batch(steps, keep_going, lock=lock)
    done = in_shell(sent.script(NONCE), cwd)
    assert done.returncode == 0
    transcript = Transcript(sent, NONCE)
    for at in range(0, max(len(done.stdout), len(done.stderr)), 3):
        transcript.stdout(done.stdout[at : at + 3])
        transcript.stderr(done.stderr[at : at + 3])
    assert transcript.begun
    assert transcript.has_ended()
    assert transcript.status == 0
    return list(transcript.finished())


def test_each_command_keeps_its_status_and_both_streams() -> None:
    steps = [step(sh("echo one; echo two >&2"), sh("printf three; exit 0")), step(sh("echo bad >&2; exit 7"))]
    assert run(steps) == [
        Outcome(0, 0, 0, "one\n", "two\n"),
        Outcome(0, 1, 0, "three", ""),
        Outcome(1, 0, 7, "", "bad\n"),
    ]


def test_a_failure_ends_the_batch(tmp_path: Path) -> None:
    outcomes = run([step(sh("exit 3")), step(Command(("touch", "late")))], cwd=tmp_path)
    assert [o.status for o in outcomes if isinstance(o, Outcome)] == [3]
    assert not (tmp_path / "late").exists()


def test_keep_going_goes_past_failures(tmp_path: Path) -> None:
    outcomes = run([step(sh("exit 3")), step(Command(("touch", "late")))], keep_going=True, cwd=tmp_path)
    assert [o.status for o in outcomes if isinstance(o, Outcome)] == [3, 0]
    assert (tmp_path / "late").exists()


def test_an_accepted_status_is_no_failure() -> None:
    assert len(run([step(Command(("sh", "-c", "exit 1"), ok=(0, 1)), sh("exit 0"))])) == 2


def test_a_guard_that_succeeds_skips(tmp_path: Path) -> None:
    guarded = Command(("touch", "made"), unless=("test", "-e", "there"))
    (tmp_path / "there").touch()
    assert run([step(guarded)], cwd=tmp_path) == [Outcome(0, 0, None)]
    (tmp_path / "there").unlink()
    assert run([step(guarded)], cwd=tmp_path) == [Outcome(0, 0, 0)]
    assert (tmp_path / "made").exists()


def test_input_reaches_the_program_and_nothing_of_it_is_expanded() -> None:
    text = "$HOME `id` \\ \"quoted\" 'too'\nEOF\n"
    assert run([step(Command(("cat",), stdin=text))]) == [Outcome(0, 0, 0, text, "")]


def test_a_command_without_input_cannot_eat_the_script() -> None:
    assert [o.status for o in run([step(Command(("cat",)), sh("exit 0"))]) if isinstance(o, Outcome)] == [0, 0]


def test_a_command_in_the_background_does_not_hold_the_batch() -> None:
    background = sh("sleep 30 </dev/null >/dev/null 2>&1 & echo $!")
    (outcome,) = run([step(background)])
    assert isinstance(outcome, Outcome)
    os.kill(int(outcome.stdout), 15)


@pytest.mark.lab
def test_as_user_runs_as_the_user_who_called_sudo() -> None:
    command = Command(("id", "-u"), as_user=True)
    script = Batch([step(command)]).script(NONCE)
    env = {"SUDO_UID": "65534", "SUDO_GID": "65534", "PATH": os.environ["PATH"]}
    assert b"\n65534\n" in in_shell(script, env=env).stdout


@pytest.mark.lab
@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel knows no autogroups")
def test_commands_of_a_batch_have_priority_over_its_background_processes() -> None:
    looks = [step(sh(f"{session} grep -o 'nice.*' /proc/self/autogroup")) for session in ("", "setsid --wait")]
    assert [outcome.stdout for outcome in run(looks) if isinstance(outcome, Outcome)] == ["nice -10\n", "nice 0\n"]


def test_half_a_script_runs_nothing(tmp_path: Path) -> None:
    """Cut the script at any byte, as a lost connection does: a shell runs all of the batch or nothing."""
    script = Batch([step(Command(("touch", "made"))), step(Command(("touch", "made too"), stdin="x"))]).script(NONCE)
    whole = script.index("(batch) </dev/null") + len("(batch)")
    for cut in range(0, whole, 7):
        in_shell(script[:cut], tmp_path)
        assert not list(tmp_path.iterdir()), script[:cut]


def test_an_upload_whose_guard_fails_stops_the_batch(tmp_path: Path) -> None:
    upload = Upload("here", "there", ".part", unless=("test", "-e", "there"))
    steps = [step(Command(("true",)), upload, Command(("touch", "after")))]
    assert run(steps, cwd=tmp_path) == [Outcome(0, 0, 0), UploadWanted(0, 1)]
    assert not (tmp_path / "after").exists()
    (tmp_path / "there").touch()
    assert run(steps, cwd=tmp_path) == [Outcome(0, 0, 0), Outcome(0, 1, None), Outcome(0, 2, 0)]


def test_the_rest_of_a_batch_begins_at_its_start() -> None:
    rest = Batch([step(sh("a"), sh("b")), step(sh("c"))], start=(0, 1))
    assert [rest.place(1), rest.place(2)] == [(0, 1), (1, 0)]
    assert Batch([step(sh("a"))], start=(0, 1)).is_empty


def test_output_that_looks_like_a_marker_of_another_batch_is_output() -> None:
    assert run([step(sh("printf '\\nfedcba 1 0\\n'"))]) == [Outcome(0, 0, 0, "\nfedcba 1 0\n", "")]


def test_a_refusal_of_sudo_is_kept() -> None:
    transcript = Transcript(Batch([step(sh("a"))]), NONCE)
    transcript.stderr(b"sudo: a password is required\n")
    assert not transcript.begun
    assert transcript.rest == "sudo: a password is required\n"


# --- without a shell for each script ----------------------------------------------------------------------------------


def user(script: str, *words: str, **fields: Any) -> Command:
    """Return a script of the SSH user."""
    return Command(("sh", "-c", script, "sh", *words), as_user=True, **fields)


SCRIPTS = [
    ("exit 3", (), 3, ""),
    ("false", (), 1, ""),
    ("", (), 0, ""),
    ("if", (), 2, ""),
    ("# nothing but words", (), 0, ""),
    ("return 4", (), 4, ""),
    ('printf "%s|" "$0" "$#" "$@"', ("a b", "", "*", "'"), 0, "sh|4|a b||*|'|"),
    ('shift; for word; do shift; set -- "$@" "<$word>"; done; printf %s "$*"', ("1", "2", "3"), 0, "<2> <3>"),
    ("trap 'printf trapped' EXIT; exit 5", (), 5, "trapped"),
    ("left=1; echo() { exit 6; }; printf said; echo", (), 6, "said"),
    ('printf "%s" "$left$status$up$end$text$number"; echo " $(type printf)"', (), 0, " printf is a shell builtin\n"),
    ("umask 777; cd /; exec 1>&2; unset PATH", (), 0, ""),
    ('umask; printf %s "$LC_ALL"', (), 0, "0022\nC"),
    ("cat", (), 0, ""),
    ("[ ! -e /proc/self/fd/8 ] && [ ! -e /proc/self/fd/9 ]", (), 0, ""),
    ("true & wait $!; printf %s $?", (), 0, "0"),
    ("kill -TERM $(sh -c 'echo $PPID'); printf alive", (), 143, ""),
    ("exec sh -c 'exit 7'", (), 7, ""),
]
"""Scripts with arguments, and the status and output of `sh -c`; all run in one batch."""


@pytest.mark.parametrize("as_user", [False, True])
def test_a_script_does_what_a_shell_of_its_own_would_do(as_user: bool, locks: Path) -> None:
    assert locks.exists()
    everything = tuple(range(256))
    do = tuple(
        Command(("sh", "-c", text, "sh", *words), ok=everything, as_user=as_user) for text, words, _, _ in SCRIPTS
    )
    outcomes = run([step(*do)], lock="slice-1")
    assert [(o.status, o.stdout) for o in outcomes if isinstance(o, Outcome)] == [
        (status, stdout) for _, _, status, stdout in SCRIPTS
    ]
    alone = [
        subprocess.run(["sh", "-c", 'umask 022; export LC_ALL=C; exec sh -c "$@"', "sh", text, "sh", *words],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        for text, words, _, _ in SCRIPTS
    ]  # fmt: skip
    assert [(o.status, o.stdout) for o in outcomes if isinstance(o, Outcome)] == [
        (done.returncode % 256 if done.returncode >= 0 else 128 - done.returncode, done.stdout) for done in alone
    ]


def test_commands_of_root_and_of_the_user_in_turn(tmp_path: Path) -> None:
    say = 'printf %s "$1"; cat; [ ! -e "$1" ] || exit 9'
    steps = [
        step(user(say, "1", stdin="one"), user(say, "2", stdin="two"), sh("exit 0")),
        step(user(say, "3", unless=("test", "-e", "3")), user("exit 8", ok=(8,)), user(say, "4")),
        step(user(say, "5"), sh("touch late")),
    ]
    for path in ("3", "4"):
        (tmp_path / path).touch()
    assert run(steps, cwd=tmp_path) == [
        Outcome(0, 0, 0, "1one\n"), Outcome(0, 1, 0, "2two\n"), Outcome(0, 2, 0), Outcome(1, 0, None),
        Outcome(1, 1, 8), Outcome(1, 2, 9, "4"),
    ]  # fmt: skip
    assert not (tmp_path / "late").exists()
    assert [o.status for o in run(steps, keep_going=True, cwd=tmp_path) if isinstance(o, Outcome)][5:] == [9, 0, 0]
    assert (tmp_path / "late").exists()


def test_an_upload_among_the_users_commands_stops_the_batch(tmp_path: Path) -> None:
    upload = Upload("here", "there", ".part", unless=("test", "-e", "there"))
    steps = [step(user("exit 0"), upload, user("touch after")), step(Command(("touch", "late")))]
    assert run(steps, cwd=tmp_path) == [Outcome(0, 0, 0), UploadWanted(0, 1)]
    assert not list(tmp_path.iterdir())


def test_a_users_shell_that_cannot_be_had_ends_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ME, "PATH", os.environ["PATH"])
    monkeypatch.setattr(batch, "USERS_SHELL", "no-such-program")
    sent = Batch([step(user("exit 0")), step(Command(("touch", "late")))], keep_going=True)
    done = in_shell(sent.script(NONCE), tmp_path)
    transcript = Transcript(sent, NONCE)
    transcript.stdout(done.stdout)
    transcript.stderr(done.stderr)
    assert (transcript.begun, transcript.has_ended(), transcript.status) == (True, True, 127)
    assert "no-such-program: not found" in transcript.rest
    assert not list(transcript.finished())
    assert not list(tmp_path.iterdir())


def test_several_batches_in_one_shell() -> None:
    batches = [Batch([step(sh("exit 3"), sh("no"))]), Batch([step(user("exit 0"), user("exit 4"), user("no"))])]
    text = "".join(sent.script(f"{number}{NONCE}") for number, sent in enumerate([*batches, *batches]))
    done = in_shell(text)
    assert done.returncode == 0
    for number, sent in enumerate([*batches, *batches]):
        transcript = Transcript(sent, f"{number}{NONCE}")
        transcript.stdout(done.stdout)
        transcript.stderr(done.stderr)
        assert transcript.has_ended()
        assert [o.status for o in transcript.finished() if isinstance(o, Outcome)] == [[3], [0, 4]][number % 2]


def test_wherever_a_shell_stops_reading_the_next_batch_arrives_whole() -> None:
    """End dash's block of 8,192 bytes at each byte of the last mark.

    If the wait were on a line of its own, dd would take a byte from the middle of the next batch.

    The shell stops after its last mark until the next batch is there, because standard error has no room.
    """
    text = "whole" * 4000
    last = Batch([step(Command(("cat",), stdin=text))]).script(f"1{NONCE}").encode()
    room = 1 << 12
    marks = sum(len(f"\n{NONCE} {mark}\n") for mark in ("0 begin", "1 0"))
    first = Batch([step(sh(f"dd if=/dev/zero bs=1 count={room - marks - 8} status=none >&2"))])
    script = first.script(NONCE)
    for length in range(8190, 8260, 5):
        padded = script.replace("call() {", f"{'#' * (length - len(script) - 1)}\ncall() {{", 1).encode()
        assert len(padded) == length
        with subprocess.Popen(
            ["sh", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ME, bufsize=0,
            start_new_session=True,
        ) as shell:  # fmt: skip
            assert shell.stdin
            assert shell.stdout
            assert shell.stderr
            fcntl.fcntl(shell.stderr, fcntl.F_SETPIPE_SZ, room)
            shell.stdin.write(padded)
            said = b""
            while f"\n{NONCE} {first.end} 0\n".encode() not in said:
                said += os.read(shell.stdout.fileno(), 4096) or pytest.fail("it ended")
            rest, _ = shell.communicate(last, timeout=20)
        assert text.encode() in rest, f"behind a batch of {length} bytes"


def test_shared_functions_of_scripts_are_sent_once_and_work_as_before(tmp_path: Path) -> None:
    gone, running = tmp_path / "gone.pid", tmp_path / "running.pid"
    gone.write_text("0\n")
    running.write_text(f"{os.getpid()}\n")
    mark = Path("/proc/self/cmdline").read_text().split("\0")[0]
    stop, is_running = load("processes/stop-processes"), load("processes/is-running")
    asked = [stop.argv("TERM", str(gone), mark), *(is_running.argv(str(path), mark) for path in (running, gone))]
    steps = [step(*(Command(argv, ok=(0, 1)) for argv in asked))]
    assert Batch(steps).script(NONCE).count("runs() {") == 1
    assert run(steps) == [Outcome(0, 0, 0), Outcome(0, 1, 0), Outcome(0, 2, 1)]


@pytest.mark.parametrize(("vms", "most"), [(8, 48_000), (20, 97_000)])
def test_the_input_of_a_host_for_a_ring_is_bounded(vms: int, most: int) -> None:
    """Each script once, one shell for what the user does, and no other shell; few bytes after SSH's compression."""
    inventory = Inventory()
    ring = ring_of(vms, inventory)
    deploy = DeploymentAPI(inventory).deploy_plan(ring)
    for plan in (deploy, deploy.undone("remove")):
        for stage in plan.stages:
            for steps in stage.by_host.values():
                script = Batch(steps, lock=plan.lock).script("0" * 24)
                actions = [action for step in steps for action in step.do]
                texts = script_names(argv for a in actions for argv in (a.unless, getattr(a, "argv", ())))
                for part in {part for text in texts for part in parts(text)}:
                    assert script.count(shell((part,))) == 1
                shells = [as_user for as_user, _ in groupby(actions, lambda action: action.as_user)]
                assert script.count("setpriv --reuid") == sum(shells)
                assert len(script) < most
                assert len(zlib.compress(script.encode())) < 14_000, "more than TCP sends at once (RFC 6928)"


# --- the lock of a slice ----------------------------------------------------------------------------------------------


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in place of /run."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(batch, "SLICE_LOCK", f"{folder}/{{}}.lock")
    return folder


def start(cwd: Path, lock: str, *scripts: str) -> subprocess.Popen[bytes]:
    """Start a batch with one command per script."""
    script = Batch([step(sh(text)) for text in scripts], lock=lock).script(NONCE)
    process = subprocess.Popen(
        ["sh", "-s"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ME,
        cwd=cwd,
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(script.encode())
    process.stdin.close()
    return process


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def test_batches_with_one_lock_run_one_after_the_other_and_leave_no_file(tmp_path: Path, locks: Path) -> None:
    twice = "[ ! -e inside ] || touch clash; touch inside; sleep 0.02; rm inside; echo >>done"
    batches = [start(tmp_path, "slice-1", twice, twice) for _ in range(8)]
    assert [process.wait(timeout=30) for process in batches] == [0] * 8
    assert not (tmp_path / "clash").exists()
    assert len((tmp_path / "done").read_text()) == 16
    assert not list(locks.iterdir())


def test_batches_with_other_locks_do_not_wait(tmp_path: Path, locks: Path) -> None:
    first = start(tmp_path, "slice-1", "touch begun; while [ ! -e end ]; do sleep 0.01; done")
    wait_for(tmp_path / "begun")
    assert start(tmp_path, "slice-11", "touch end").wait(timeout=10) == 0
    assert first.wait(timeout=10) == 0
    assert not list(locks.iterdir())


def test_a_batch_of_a_dead_manager_ends_after_its_command_and_the_next_batch_waits(tmp_path: Path, locks: Path) -> None:
    orphan = start(tmp_path, "slice-1", "touch begun; while [ ! -e end ]; do sleep 0.01; done; touch first", "touch no")
    wait_for(tmp_path / "begun")
    for stream in (orphan.stdout, orphan.stderr):
        assert stream
        stream.close()  # sshd does this when the connection ends
    following = start(tmp_path, "slice-1", "[ -e first ] && touch second")
    with pytest.raises(subprocess.TimeoutExpired):
        following.wait(timeout=0.3)
    (tmp_path / "end").touch()
    orphan.wait(timeout=10)
    assert following.wait(timeout=10) == 0
    assert (tmp_path / "second").exists()
    assert not (tmp_path / "no").exists()
    assert not list(locks.iterdir())


def test_background_processes_of_a_batch_do_not_hold_its_lock(tmp_path: Path, locks: Path) -> None:
    background = "sleep 30 </dev/null >/dev/null 2>&1 & echo $! >pid"
    assert start(tmp_path, "slice-1", background).wait(timeout=10) == 0
    assert start(tmp_path, "slice-1", "true").wait(timeout=10) == 0
    os.kill(int((tmp_path / "pid").read_text()), 15)
    assert not list(locks.iterdir())


def test_a_lock_that_cannot_be_created_is_reported(tmp_path: Path, locks: Path) -> None:
    locks.rmdir()
    process = start(tmp_path, "slice-1", "touch no")
    transcript = Transcript(Batch([step(sh(""))]), NONCE)
    assert process.stdout
    assert process.stderr
    transcript.stdout(process.stdout.read())
    transcript.stderr(process.stderr.read())
    assert not transcript.begun
    assert "is /run full?" in transcript.busy
    assert not (tmp_path / "no").exists()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(blacklist_characters="\0", codec="utf-8")), min_size=1, max_size=5))
def test_every_argument_arrives_as_it_was(words: list[str]) -> None:
    outcome = run([step(Command(("printf", "%s\\n", *words)))])[0]
    assert isinstance(outcome, Outcome)
    assert outcome.stdout == "".join(f"{word}\n" for word in words)


# --- the fence of a claim ---------------------------------------------------------------------------------------------


@pytest.fixture
def fences(locks: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in place of /run, with fences."""
    monkeypatch.setattr(batch, "FENCE", f"{locks}/{{}}.fence")
    return locks


def refused(cwd: Path, fence: int, lock: str = "slice-1") -> tuple[bool, str]:
    """Run a batch that makes the file `made`; return whether it came too late, and why it did not begin."""
    sent = Batch([step(Command(("touch", "made")))], lock=lock, fence=fence)
    done = in_shell(sent.script(NONCE), cwd)
    transcript = Transcript(sent, NONCE)
    transcript.stdout(done.stdout)
    transcript.stderr(done.stderr)
    assert transcript.has_ended()
    assert transcript.status == 0
    assert (cwd / "made").exists() == transcript.begun == (not transcript.busy)
    (cwd / "made").unlink(missing_ok=True)
    return transcript.is_late, transcript.busy


def test_a_batch_of_an_earlier_claim_is_refused(tmp_path: Path, fences: Path) -> None:
    late = "another manager has begun to change the same since"
    for fence, wanted in ((7, ""), (7, ""), (9, ""), (8, late), (10, ""), (9, late)):
        is_late, why = refused(tmp_path, fence)
        assert (is_late, why.strip()) == (bool(wanted), wanted)
    assert refused(tmp_path, 1, "slice-2") == (False, "")
    assert refused(tmp_path, 0) == (False, "")
    kept = {path.name: path.read_text() for path in fences.iterdir()}
    assert kept == {"slice-1.fence": "10\n", "slice-2.fence": "1\n"}


@pytest.mark.parametrize("content", ["", "\n", "x\n", "-3\n", "7"])
def test_a_fence_that_an_editor_broke_stops_no_batch(tmp_path: Path, fences: Path, content: str) -> None:
    (fences / "slice-1.fence").write_text(content)
    assert refused(tmp_path, 8) == (False, "")


def test_a_fence_that_cannot_be_kept_is_reported(tmp_path: Path, fences: Path) -> None:
    (fences / "slice-1.fence.new").mkdir()
    is_late, why = refused(tmp_path, 8)
    assert not is_late
    assert "is /run full?" in why


def test_a_batch_without_a_fence_has_no_word_about_it() -> None:
    assert "fence" not in Batch([step(Command(("true",)))], lock="slice-1").script(NONCE)


def test_fences_are_listed(fences: Path, tmp_path: Path) -> None:
    refused(tmp_path, 12)
    refused(tmp_path, 3, "images")
    (fences / "slice-2.lock").touch()
    script = source("collect/list-fences").replace("/run/cloud-repositorio-", f"{fences}/")
    listed = in_shell(script.replace("${file##*/cloud-repositorio-}", "${file##*/}")).stdout.decode()
    assert sorted(listed.splitlines()) == ["images 3", "slice-1 12"]

"""The commands about slices as a script uses them, with `set -e`, on hosts and guests."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from tests.support.acts import read_log
from tests.support.lab.visitor import Menu, empty_database, traces, wait_until
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

SECONDS = 240.0
"""The longest wait for a script, or for a guest that boots, on a busy machine."""

SCRIPT = r"""
set -eu
cli() { "$python" "$program" --database "$database" "$@"; }

cli list --json | grep -q '"name": "lab", "owner": "student", "status": "design", "vms": 2, "links": 1'
cli deploy lab --dry-run | head -1
cli deploy lab
cli show lab --json >shown.json
cli show lab | grep -c 'running$'
ended=0; cli deploy lab 2>errors || ended=$?
echo "$ended $(cat errors)"
cli repair lab
"""

REPAIR = r"""
set -eu
cli() { "$python" "$program" --database "$database" "$@"; }

cli repair lab
cli delete lab --dry-run | tail -1
ended=0; cli delete lab 2>errors || ended=$?
echo "$ended $(cat errors)"
cli delete lab --yes
cli list --json
"""

LOOP = r"""
set -eu
cli() { "$python" "$program" --database "$database" --as student "$@"; }

for name in mon tue; do
    cli create --template line:2 --name "$name" --flavor cirros
    cli deploy "$name" --wait 200
    cli show "$name" --json >"$name.json"
    cli delete "$name" --yes
done
cli list --json
"""


class CommandDesk:
    """A database of its own with the slice `lab` of student: a and b, linked."""

    def __init__(self, lab: Lab, home: Path) -> None:
        self.lab = lab
        self.home = home
        self.database = empty_database(lab, home / "database.yaml")
        menu = Menu(lab, "student", self.database)
        self.slice_id = menu.create_pair("lab")
        menu.close()

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, str(ROOT / "cli.py"), "--database", str(self.database), *words]

    def run(self, script: str) -> tuple[list[str], str]:
        """Return the lines and the errors of a script that succeeds."""
        names = {"python": sys.executable, "program": str(ROOT / "cli.py"), "database": str(self.database)}
        settings = "".join(f"{name}={value}\n" for name, value in names.items())
        script = f"cd {self.home}\n{settings}{script}"
        process = self.lab.popen(
            ["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        output, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, errors.decode()
        assert b"Traceback" not in errors
        return output.decode().splitlines(), errors.decode()


@pytest.fixture
def desk(lab: Lab, home: Path) -> Iterator[CommandDesk]:
    desk = CommandDesk(lab, home)
    yield desk
    desk.run(
        '"$python" "$program" --database "$database" list | grep -q . || exit 0\n'
        '"$python" "$program" --database "$database" delete lab --yes'
    )


def test_a_script_deploys_repairs_and_deletes_a_slice(lab: Lab, desk: CommandDesk) -> None:
    lines, progress = desk.run(SCRIPT)
    assert lines[0].endswith(f" to deploy slice {desk.slice_id} (lab) of student")
    assert lines[1:] == [
        "Slice deployed successfully",
        "2",
        "1 Error: Slice already running",
        "Nothing was missing: 0 changes",
    ]
    assert "[verify] 10.0.10.1: " in progress
    shown = json.loads((desk.home / "shown.json").read_text())
    assert shown["status"] == "running"
    assert [(vm["name"], vm["status"], "vnc_secret" in vm) for vm in shown["vms"]] == [
        ("a", "running", False),
        ("b", "running", False),
    ]
    vm = shown["vms"][0]
    worker = {"10.0.10.1": "worker1", "10.0.10.2": "worker2"}[vm["worker_ip"]]
    lab.exec(worker, ["kill", "-9", vm["pid"]])
    wait_until(lambda: lab.exec(worker, ["kill", "-0", vm["pid"]], check=False).returncode != 0, "QEMU's end", 10)
    lines, _ = desk.run(REPAIR)
    assert lines[0] == "Slice repaired: 2 changes"
    assert lines[1:3] == [
        f"  brought back: {what} (a) on {vm['worker_ip']}" for what in ("QEMU", "start of the guests")
    ]
    assert lines[3] == "shared: until its last slice"
    assert lines[4].startswith(f"1 Error: delete asks before it removes slice {desk.slice_id} (lab); ")
    assert lines[5:] == ["Slice deleted", '{"slices": []}']
    acts = [entry for entry in read_log(desk.database) if entry["result"] == "ok" and entry["by"]]
    assert [(entry["actor"], entry["by"], entry["action"]) for entry in acts] == [
        ("admin", "operator", action) for action in ("deploy", "repair slice", "repair slice", "delete")
    ]


def test_a_loop_makes_uses_and_deletes_slices(lab: Lab, desk: CommandDesk) -> None:
    before = traces(lab)
    lines, _ = desk.run(LOOP)
    shown = [json.loads((desk.home / f"{name}.json").read_text()) for name in ("mon", "tue")]
    assert [(each["status"], [vm["status"] for vm in each["vms"]]) for each in shown] == [
        ("running", ["running", "running"])
    ] * 2
    done = ["Slice created! ID", "Slice deployed successfully", "2 VMs ready after", "Slice deleted"] * 2
    assert all(line.startswith(start) for line, start in zip(lines, done, strict=False))
    assert [each["name"] for each in json.loads(lines[-1])["slices"]] == ["lab"]
    assert traces(lab) == before


def test_ctrl_c_rolls_a_deployment_back_and_says_so(lab: Lab, desk: CommandDesk) -> None:
    before = traces(lab)
    process = lab.popen(
        desk.argv("deploy", "lab"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr
    heard = b""
    while b"[prepare]" not in heard:
        line = process.stderr.readline()
        assert line, heard
        heard += line
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, b"")
    assert errors.decode().splitlines()[-1].startswith("Error: Interrupted; ")
    assert "taken back and the slice is in design" in errors.decode()
    assert traces(lab) == before


def test_a_console_is_joined_with_a_terminal(lab: Lab, desk: CommandDesk) -> None:
    desk.run('"$python" "$program" --database "$database" deploy lab')
    user, program = pty.openpty()
    process = lab.popen(desk.argv("console", "lab", "a"), stdin=program, stdout=program, stderr=program)
    os.close(program)
    read_until(user, b"Connected to a")
    read_until(user, b"login: ", typing=b"\n")
    os.write(user, b"\x1d")
    read_until(user, b"Left the console")
    assert process.wait(30) == 0
    os.close(user)


def read_until(terminal: int, text: bytes, typing: bytes = b"") -> None:
    """Read what a terminal shows up to a text; type this once in each second without output."""
    shown, deadline = b"", time.monotonic() + SECONDS
    while text not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 1.0)[0]:
            shown += os.read(terminal, 65536)
        elif typing:
            os.write(terminal, typing)

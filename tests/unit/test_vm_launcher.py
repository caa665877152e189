"""The script that ends VMs, run by a real shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shell import daemon
from vm_launcher import _END_VMS

FILES = ("console", "lock", "log", "said", "vnc", "qmp")


def words(folder: Path, name: str, mark: str) -> list[str]:
    return [str(folder / f"{name}.pid"), mark, *(str(folder / f"{name}.{kind}") for kind in FILES)]


def begin(folder: Path, name: str, mark: str) -> int:
    pid_file, _, *files = words(folder, name, mark)
    for file in files:
        Path(file).touch()
    argv = ("python3", "-c", "import time; time.sleep(60)", mark)
    run(daemon.start((pid_file, mark), files[3], files[2], argv))
    return int(Path(pid_file).read_text(encoding="utf-8"))


def run(argv: daemon.Argv) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.long
def test_vms_end_with_their_files_and_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    marks = {"one": "slice7-vm1", "two": "slice7-vm2", "three": "slice7-vm3"}
    pids = {name: begin(folder, name, mark) for name, mark in marks.items()}
    disk = folder / "one_img.qcow2"
    disk.touch()
    both = [word for name in ("one", "three", "never") for word in words(folder, name, marks.get(name, "none"))]
    for _ in range(2):
        run(_END_VMS.argv(*both))
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["one_img.qcow2", "two.pid", *(f"two.{kind}" for kind in FILES)]
        )
    assert [name for name, pid in pids.items() if Path(f"/proc/{pid}/exe").exists()] == ["two"]
    run(_END_VMS.argv(*words(folder, "two", marks["two"])))


def test_a_pid_file_of_another_process_costs_only_the_file(tmp_path: Path) -> None:
    pid = begin(tmp_path, "one", "slice7-vm1")
    run(_END_VMS.argv(*words(tmp_path, "one", "slice7-vm2")))
    assert Path(f"/proc/{pid}/exe").exists()
    subprocess.run(["kill", str(pid)], check=True)

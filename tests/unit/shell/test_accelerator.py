"""The test whether KVM runs a guest: the real scripts, a QEMU of ours, and a file for /dev/kvm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from shell import accelerator
from shell.accelerator import EMULATION
from shell.scripts import load

QEMU = """#!/bin/sh
echo "$*" >>"$0.calls"
case "$*" in *isa-debug-exit*) exit {probe};; esac
printf '%s\\n' "$@"
"""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class WorkerWithKVM:
    """A folder with images, a KVM, and a QEMU that ends its trial with status `probe`."""

    def __init__(self, folder: Path, probe: int, *, kvm: bool = True) -> None:
        self.record, self.kvm, self.qemu = folder / ".accel", folder / "kvm", folder / "bin" / "qemu-system-x86_64"
        self.qemu.parent.mkdir()
        self.qemu.write_text(QEMU.format(probe=probe), encoding="ascii")
        self.qemu.chmod(0o755)
        if kvm:
            self.kvm.touch()
            os.utime(self.kvm, (1, 1))

    def run(self, argv: accelerator.Argv) -> subprocess.CompletedProcess[str]:
        script = argv[2].replace("/dev/kvm", str(self.kvm))
        path = f"{self.qemu.parent}:{os.environ['PATH']}"
        env = os.environ | {"PATH": path}
        return subprocess.run([*argv[:2], script, *argv[3:]], env=env, capture_output=True, text=True, check=False)

    def decide(self, accel: str) -> subprocess.CompletedProcess[str]:
        return self.run(accelerator.find_accelerator(str(self.record), accel))

    def started(self, accel: str) -> list[str]:
        """Return the argv of the started QEMU."""
        argv = ("qemu-system-x86_64", "-name", "kvm and more", *accelerator.options(accel), "-smp", "1")
        return self.run(accelerator.choosing(str(self.record), argv)).stdout.splitlines()

    @property
    def trials(self) -> int:
        calls = Path(f"{self.qemu}.calls")
        return calls.read_text(encoding="ascii").count("isa-debug-exit") if calls.exists() else 0


@pytest.mark.parametrize(
    ("probe", "known", "words"),
    [
        (99, "kvm", ["-accel", "kvm", "-accel", EMULATION]),
        (134, "tcg", ["-accel", EMULATION, "-accel", EMULATION]),
        (1, "tcg", ["-accel", EMULATION, "-accel", EMULATION]),
    ],
)
def test_auto_takes_kvm_only_where_it_runs_a_guest(tmp_path: Path, probe: int, known: str, words: list[str]) -> None:
    worker = WorkerWithKVM(tmp_path, probe)
    for _ in range(3):
        assert worker.decide("auto").returncode == 0
    assert worker.record.read_text(encoding="ascii") == f"{BOOT_ID} {known}\n"
    assert worker.trials == 1
    assert worker.started("auto") == ["-name", "kvm and more", *words, "-smp", "1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".accel", "bin", "kvm"]


def test_a_trial_that_stands_still_is_ended(tmp_path: Path) -> None:
    worker = WorkerWithKVM(tmp_path, 99)
    worker.qemu.write_text("#!/bin/sh\nexec sleep 60\n", encoding="ascii")
    argv = accelerator.find_accelerator(str(worker.record), "auto")
    assert worker.run(tuple(word.replace("timeout 5", "timeout 0.2") for word in argv)).returncode == 0
    assert worker.record.read_text(encoding="ascii") == f"{BOOT_ID} tcg\n"


def test_kvm_that_was_asked_for_and_runs_no_guest_is_refused(tmp_path: Path) -> None:
    worker = WorkerWithKVM(tmp_path, 134)
    for _ in range(2):
        done = worker.decide("kvm")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "KVM opens there and runs no guest (is nested virtualization off?); set hypervisor: {accel: tcg}\n"
        )
    assert worker.trials == 1


@pytest.mark.parametrize(
    ("accel", "probe", "kvm", "words"),
    [
        ("auto", 99, True, ""),
        ("auto", 134, True, "a flavor requires KVM, and KVM runs no guest there"),
        ("kvm", 134, True, "a flavor requires KVM, and KVM runs no guest there"),
        ("auto", 99, False, "a flavor requires KVM, and "),
        ("tcg", 99, True, "a flavor requires KVM, and hypervisor: {accel: tcg} turns it off"),
    ],
)
def test_a_flavor_that_requires_kvm_is_refused_without_it(
    tmp_path: Path, accel: str, probe: int, kvm: bool, words: str
) -> None:
    worker = WorkerWithKVM(tmp_path, probe, kvm=kvm)
    done = worker.run(accelerator.find_accelerator(str(worker.record), accel, required=True))
    assert done.stderr.startswith(words)
    assert (done.returncode, done.stderr.count("\n")) == ((1, 1) if words else (0, 0))


def test_without_kvm_nothing_is_tried_and_qemu_decides(tmp_path: Path) -> None:
    worker = WorkerWithKVM(tmp_path, 99, kvm=False)
    assert worker.decide("auto").returncode == 0
    assert "cannot be opened there (group kvm?); correct that or set accel: tcg" in worker.decide("kvm").stderr
    assert (worker.trials, worker.record.exists()) == (0, False)
    assert worker.started("auto") == ["-name", "kvm and more", "-accel", "kvm", "-accel", EMULATION, "-smp", "1"]


@pytest.mark.parametrize("change", ["booted again", "KVM loaded again", "junk"])
def test_it_is_tried_again_after(tmp_path: Path, change: str) -> None:
    worker = WorkerWithKVM(tmp_path, 134)
    worker.decide("auto")
    if change == "KVM loaded again":
        os.utime(worker.kvm)
        os.utime(worker.record, (2, 2))
    else:
        worker.record.write_text("junk\n" if change == "junk" else "another-boot tcg\n", encoding="ascii")
    worker.decide("auto")
    assert worker.trials == 2
    assert worker.record.read_text(encoding="ascii") == f"{BOOT_ID} tcg\n"


def test_the_guest_is_a_boot_sector() -> None:
    """Check its size, which puts its mark at the end."""
    text = load("vms/find-accelerator").text
    function = text[text.index("guest() {") : text.index("}\n") + 2]
    print_guest = ["sh", "-c", f"{function}guest"]
    content = subprocess.run(print_guest, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=True).stdout
    assert len(content) == 512
    assert content.startswith(b"\xfa\x31\xc0")
    assert content.endswith(b"\x55\xaa")

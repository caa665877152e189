"""Checks of workers: the real script with a QEMU of ours, asked only where a flavor needs more than usual."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from core.flavors import Devices, Flavor
from machines.requirements import check_accelerator, check_devices
from models import VM
from remote.plan import Command, Step

LISTED = """#!/bin/sh
[ "$*" = "-device help" ] || exit 2
cat <<'END'
Network devices:
name "e1000", bus PCI, alias "e1000-82540em", desc "Intel Gigabit Ethernet"
name "virtio-net-pci", bus PCI, alias "virtio-net"
CPU devices:
name "EPYC-x86_64-cpu"
END
"""


def machine(**devices: object) -> VM:
    return VM(1001, "r1", "admin", "10.0.10.1", 5901, [], Flavor(devices=Devices.from_dict(devices)))


def command_of(steps: list[Step]) -> Command:
    (command,) = steps[0].do
    assert isinstance(command, Command)
    assert command.as_user
    assert not steps[0].undo
    return command


def run(folder: Path, argv: tuple[str, ...], qemu: str = LISTED) -> str:
    program = folder / "qemu-system-x86_64"
    program.write_text(qemu, encoding="ascii")
    program.chmod(0o755)
    env = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30)
    assert bool(done.returncode) == bool(done.stderr)
    return done.stderr


@pytest.mark.parametrize("devices", [{}, {"machine": "q35"}, {"max_nics": 2, "console": "vnc", "video": "none"}])
def test_a_worker_is_not_asked_for_what_every_qemu_has(devices: dict[str, object]) -> None:
    assert [*check_devices("10.0.10.1", [machine(**devices)])] == []


def test_all_vms_of_a_worker_are_asked_for_at_once(tmp_path: Path) -> None:
    vms = [machine(), machine(nic_model="e1000"), machine(cpu_model="EPYC"), machine(nic_model="e1000")]
    steps = [*check_devices("10.0.10.1", vms)]
    assert command_of(steps).argv[-3:] == ("", "EPYC-x86_64-cpu", "e1000")
    assert run(tmp_path, command_of(steps).argv) == ""


def test_a_device_that_is_missing_is_named(tmp_path: Path) -> None:
    """Ask for `e1000e`, too: the name of another device begins like it."""
    vms = [machine(nic_model="e1000e"), machine(nic_model="vmxnet3"), machine(nic_model="e1000")]
    assert run(tmp_path, command_of([*check_devices("10.0.10.1", vms)]).argv) == (
        "QEMU there lacks what a flavor asks for: e1000e vmxnet3 (apt-get install qemu-system-x86 brings a newer one); "
        "or change the flavor\n"
    )


def test_a_qemu_that_lists_nothing_is_reported(tmp_path: Path) -> None:
    argv = command_of([*check_devices("10.0.10.1", [machine(nic_model="e1000")])]).argv
    assert run(tmp_path, argv, "#!/bin/sh\necho broken >&2; exit 1\n") == "broken\n"


def test_uefi_that_is_missing_names_its_package(tmp_path: Path) -> None:
    argv = command_of([*check_devices("10.0.10.1", [machine(firmware="uefi")])]).argv
    firmware = tmp_path / "OVMF_CODE_4M.fd"
    argv = tuple(str(firmware) if word.startswith("/usr/share/OVMF/") else word for word in argv)
    assert run(tmp_path, argv) == f"a flavor asks for UEFI, and {firmware} is not there (apt-get install ovmf)\n"
    firmware.touch()
    assert run(tmp_path, argv) == ""


@pytest.mark.parametrize(
    ("accel", "kvm", "wanted"),
    [
        ("auto", "optional", "auto"),
        ("kvm", "optional", "kvm"),
        ("tcg", "optional", ""),
        ("auto", "required", "auto-required"),
        ("kvm", "required", "kvm-required"),
        ("tcg", "required", "tcg-required"),
    ],
)
def test_kvm_is_asked_for_where_it_is_wanted(accel: str, kvm: str, wanted: str) -> None:
    steps = [*check_accelerator("10.0.10.1", [machine(), machine(kvm=kvm)], "vm_images/.accel", accel)]
    assert [command_of([step]).argv[-1] for step in steps] == ([wanted] if wanted else [])

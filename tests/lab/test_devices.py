"""The words of each device, on a real QEMU: it accepts every choice, and lists what preflight asks a worker for.

QEMU begins paused and ends at once; it runs no guest and needs no lab.
"""

from __future__ import annotations

import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from core.flavors import Devices, Flavor
from core.names import VMFiles, mac_address
from machines import qemu
from models import VM, Interface
from shell.daemon import LOG_DEVICE

pytestmark = pytest.mark.lab

CHOICES = {
    name: each.rule.words.removeprefix("one of ").split(", ")
    for name, each in Devices.KEYS.items()
    if each.rule.words.startswith("one of ")
}
SINGLE = [
    Devices.from_dict({"machine": board, name: word})
    for board in CHOICES["machine"]
    for name, words in CHOICES.items()
    if name != "machine"
    for word in words
]
DISKS = [
    Devices(machine=board, disk_bus=bus, firmware=firmware, disk2_gb=1, cdrom="/srv/a,b.qcow2", seed="nocloud")
    for board, bus, firmware in product(CHOICES["machine"], CHOICES["disk_bus"], CHOICES["firmware"])
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> VMFiles:
    """Return the files of a VM: its disks, the image of its CD, its secret and its seed."""
    folder = tmp_path_factory.mktemp("images")
    made = VMFiles(str(folder), 1000, "r1")
    Path(made.folder).mkdir()
    for disk in (made.overlay, made.disk2, f"{folder}/a,b.qcow2"):
        run("qemu-img", "create", "-q", "-f", "qcow2", disk, "16M")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", qemu.UEFI_VARIABLES, made.uefi_variables)
    Path(made.vnc_secret).write_text("c2VjcmV0\n", encoding="utf-8")
    Path(made.seed).write_bytes(bytes(1 << 20))
    return made


def run(*argv: str, typed: str = "") -> str:
    done = subprocess.run(argv, input=typed, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks_of(devices: Devices, files: VMFiles) -> str:
    """Return the drives that a QEMU with these devices has, by its own word."""
    nics = [Interface(f"eth{index}", None, mac_address(1001, index)) for index in range(11)]
    vm = VM(1001, "r1", "admin", "127.0.0.1", 65_001, nics, Flavor(devices=devices))
    words = qemu.command_line(1000, vm, files, "tcg")
    argv = [word.replace(LOG_DEVICE, files.log) for word in words]
    argv = [re.sub(r"^tap,id=(nic\d+),.*", r"hubport,id=\1,hubid=0", word) for word in argv]
    return run(*argv, "-monitor", "stdio", typed="info block\nquit\n")


@pytest.mark.parametrize("devices", dict.fromkeys(SINGLE), ids=lambda devices: str(devices.to_dict()))
def test_qemu_accepts_every_choice(devices: Devices, files: VMFiles) -> None:
    assert files.overlay in blocks_of(devices, files)


@pytest.mark.parametrize("devices", DISKS, ids=lambda devices: str(devices.to_dict()))
def test_qemu_finds_all_disks_and_a_cd_that_it_cannot_write(devices: Devices, files: VMFiles) -> None:
    lines = [line for line in blocks_of(devices, files).splitlines() if " (#block" in line]
    drives = {line.partition(": ")[2]: line for line in lines}
    uefi = [f"{files.uefi_variables} (qcow2)"] if devices.firmware == "uefi" else []
    for drive in (f"{files.overlay} (qcow2)", f"{files.disk2} (qcow2)", *uefi):
        assert drive in drives
    assert f"{files.images_path}/a,b.qcow2 (qcow2, read-only)" in drives
    assert f"{files.seed} (raw, read-only)" in drives
    assert len([line for line in lines if "read-only" not in line]) == 2 + len(uefi)


def test_qemu_lists_all_devices_that_preflight_asks_for() -> None:
    listed = run(qemu.PROGRAM, "-device", "help")
    for devices in (*SINGLE, *DISKS):
        for name in qemu.needs(devices):
            assert f'name "{name}"' in listed, name

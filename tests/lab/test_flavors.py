"""Flavors with devices on real hosts: their VMs run, are clean for doctor and prove, and leave nothing.

The lab's guest has drivers for virtio only. So QEMU runs with other devices, and the guest shows what it sees of a
second disk on another board. By UEFI it starts with a script for the firmware's shell.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import GuestConsole, Lab, paths
from tests.support.lab.program import run_program
from tests.support.lab.visitor import IMAGES, Guest, Menu, empty_database, traces
from tests.support.scale import LONG

pytestmark = pytest.mark.lab

FLAVORS: dict[str, dict[str, Any]] = {
    "full": {
        "nic_model": "e1000e",
        "disk_bus": "sata",
        "machine": "q35",
        "firmware": "uefi",
        "cpu_model": "qemu64",
        "video": "cirrus",
        "disk2_gb": 0.125,
        "console": "vnc",
    },
    "twin": {"machine": "q35", "disk2_gb": 0.125, "nic_names": "port{n+1}", "min_nics": 2},
    "native": {"kvm": "required"},
    "modern": {"machine": "q35", "firmware": "uefi"},
}
VARIABLE = "cloudlab -guid 3f7a5a64-52f5-4f0b-9a0c-7d2b6c8e1f11"
SCRIPT = f"""\
@echo -off
setvar {VARIABLE}
setvar {VARIABLE} -nv -bs -rt =L"kept"
fs0:
vmlinuz initrd=\\initrd.gz console=ttyS0,115200 net.ifnames=0 quiet loglevel=3 panic=5
"""
"""Shows a variable of the firmware and sets it, then starts the guest's kernel, which is a program for UEFI as well."""

NEW, KEPT = "Unable to get", "6B 00 65 00 70 00 74 00"
UEFI_SECONDS = 600.0
"""The longest wait for a boot by UEFI without KVM: a quiet machine takes 45 s."""


@pytest.fixture(scope="module")
def database(lab: Lab, home: Path) -> Path:
    """Return a database with these flavors; the CD of the first one is an image of its own."""
    compact = home / "installer.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(compact), "16M"], check=True)
    paths.caller().own(compact)

    def change(record: dict[str, Any]) -> None:
        size = record["flavors"]["cirros"]
        record["flavors"] |= {name: size | devices for name, devices in FLAVORS.items()}
        record["flavors"]["full"]["cdrom"] = str(compact)
        record["flavors"]["modern"]["image"] = str(_for_uefi(lab.image, home))
        record["next_vm_id"] = 9000

    return empty_database(lab, home / "cloud.yaml", change)


def _for_uefi(image: Path, home: Path) -> Path:
    """Return the lab's image with a script that the firmware's shell runs."""
    script, raw, made = home / "startup.nsh", home / "uefi.raw", home / "uefi.qcow2"
    script.write_text(SCRIPT, encoding="utf-8")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(image), str(raw)], check=True)
    subprocess.run(["mcopy", "-i", str(raw), str(script), "::startup.nsh"], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(made)], check=True)
    raw.unlink()
    paths.caller().own(made)
    return made


@pytest.fixture
def own_menu(lab: Lab, database: Path) -> Iterator[Menu]:
    session = Menu(lab, "admin", database)
    yield session
    session.close()


def cli(lab: Lab, database: Path, *words: str) -> tuple[int, str]:
    """Run a command; return its exit status and all that it says."""
    done = run_program(lab, *words, database=database)
    return done.returncode, f"{done.stdout}{done.stderr}"


def create(lab: Lab, database: Path, flavor: str) -> int:
    status, said = cli(lab, database, "create", "--template", "line:2", "--flavor", flavor, "--name", flavor)
    assert status == 0, said
    return int(said.rpartition("ID: ")[2].split()[0])


def test_vms_with_other_devices_run_and_leave_nothing(lab: Lab, database: Path, own_menu: Menu) -> None:
    own_menu.delete(create(lab, database, "full"))  # the images are on both workers now
    before = traces(lab)
    slice_id = create(lab, database, "full")
    assert cli(lab, database, "deploy", str(slice_id))[0] == 0
    for vm in own_menu.topology(slice_id).values():
        assert vm.running
        files = lab.exec(vm.worker, ["ls", f"{IMAGES}/slice-{slice_id}"]).stdout.split()
        assert {f"{vm.name}_img.qcow2", f"{vm.name}.disk2", f"{vm.name}.uefi"} <= {*files}
    status, said = cli(lab, database, "doctor")
    assert status == 0, said
    status, said = cli(lab, database, "prove")
    assert status == 0, said
    assert "Nothing was missing" in cli(lab, database, "repair", str(slice_id))[1]
    own_menu.delete(slice_id)
    assert traces(lab) == before


def test_a_guest_sees_its_second_disk(lab: Lab, database: Path, own_menu: Menu) -> None:
    slice_id = create(lab, database, "twin")
    own_menu.deploy(slice_id)
    first, _ = own_menu.topology(slice_id).values()
    assert "eth2 (port3): MAC" in first.text
    guest = Guest(lab, slice_id, first)
    assert guest.run("cat /sys/block/vdb/size").split()[-1] == str((128 << 20) // 512)
    assert guest.succeeds("echo there >/dev/vdb")
    guest.console.close()
    own_menu.delete(slice_id)


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="three boots by UEFI without KVM take minutes: `make torture` runs it")
def test_a_guest_starts_by_uefi_keeps_its_variables_and_has_new_ones_after_a_reset(
    lab: Lab, database: Path, home: Path, own_menu: Menu
) -> None:
    file = home / "modern.slice.yaml"
    file.write_text("slice: modern\nvms: {one: modern}\n", encoding="utf-8")
    status, said = cli(lab, database, "create", str(file))
    assert status == 0, said
    slice_id = int(said.rpartition("ID: ")[2].split()[0])
    vm, folder = own_menu.topology(slice_id)["one"], f"{IMAGES}/slice-{slice_id}"
    own_menu.deploy(slice_id)
    for change, variable in (((), NEW), (("restart", "modern"), KEPT), (("reset", "modern", "--yes"), NEW)):
        status, said = cli(lab, database, *change) if change else (0, "")
        assert status in {0, 3}, said  # 3: the guest did not obey its power button in time
        with GuestConsole(lab, vm.worker, f"{folder}/one.console") as console:
            console.login(UEFI_SECONDS)
            assert console.run("test -d /sys/firmware/efi")[1] == 0
        log = lab.exec(vm.worker, ["cat", f"{folder}/one.log"]).stdout
        assert [words for words in (NEW, KEPT) if words in log] == [variable]
    own_menu.delete(slice_id)


def test_a_worker_without_uefi_is_refused_before_anything_changes(lab: Lab, database: Path) -> None:
    lab.exec("worker1", ["mount", "-t", "tmpfs", "none", "/usr/share/OVMF"])
    try:
        before = traces(lab)
        status, said = cli(lab, database, "create", "--template", "line:2", "--flavor", "full", "--name", "bare")
        assert status == 1
        assert "10.0.10.1: devices of the VMs: a flavor asks for UEFI" in said
        assert "(apt-get install ovmf)" in said
        assert traces(lab) == before
    finally:
        lab.exec("worker1", ["umount", "/usr/share/OVMF"])


def test_a_flavor_that_requires_kvm_is_refused_by_emulation(lab: Lab, database: Path, own_menu: Menu) -> None:
    """The lab's workers run no guest by KVM, or are told not to."""
    slice_id = create(lab, database, "native")
    before = traces(lab)
    status, said = cli(lab, database, "deploy", str(slice_id))
    assert status == 1
    assert "accelerator: a flavor requires KVM" in said
    assert traces(lab) == before
    own_menu.delete(slice_id)

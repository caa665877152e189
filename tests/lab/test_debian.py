"""Stock images, on a lab of their own: Debian boots from its seed to ssh, and a student works with four such VMs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from lab import Lab, guest, paths
from tests.support.lab.by_hand import LOOPBACK, PORT, seconds_to_ssh, started_by_hand
from tests.support.lab.student import Student
from tests.support.scale import LONG, scaled

pytestmark = pytest.mark.lab

BOOT_SECONDS = scaled(420.0, 900.0)
"""The longest wait for a first boot without KVM, on a machine that does other things as well; of one VM, or of four."""

ALONE = """\
slice: lab
vms:
  h1: {flavor: debian, internet: true}
"""
ROUTED = """\
slice: lab
vms:
  r1:
    flavor: debian
    internet: true
    seed: &ospf
      script: |
        vtysh -c 'configure terminal' -c 'ip forwarding' -c 'router ospf' \\
              -c 'network 192.168.0.0/16 area 0' -c 'network 10.1.2.0/30 area 0' -c end -c 'write memory'
  r2: {flavor: debian, seed: *ospf}
  h1: debian
  h2: debian
links:
- {ends: [h1, r1], name: left}
- {ends: [r1, r2], name: core, services: none, cidr: 10.1.2.0/30, addresses: {r1: 10.1.2.1, r2: 10.1.2.2}}
- {ends: [r2, h2], name: right}
"""
FIXED = """\
slice: lab
vms:
  h1:
    flavor: debian
    internet: true
    seed:
      script: echo run >>/root/runs
      user_data:
        bootcmd: [[sysctl, -q, -w, vm.dirty_writeback_centisecs=0, vm.dirty_expire_centisecs=60000]]
  h2: {flavor: debian, internet: true, start: manual}
  h3: {flavor: debian, internet: true, start: manual}
links:
- {ends: [h1, h2, h3], services: none, cidr: 10.1.2.0/28, addresses: {h1: 10.1.2.1}}
"""
"""One guest with a fixed address, which writes to its disk as late as it can.

Its carrier needs two VMs at the other ends, because these are off.
"""

WAYS_OUT = {"r1": "eth0", "r2": "eth2", "h1": "eth1", "h2": "eth1"}
"""The interface of each VM's one default route: internet, or else the first link with a gateway."""

MOST = 1.1
"""By this factor a deployed VM may take longer than the same guest started by hand."""

NEIGHBOURS = "sudo vtysh -c 'show ip ospf neighbor'"


@pytest.fixture(scope="module")
def debian_lab(worker_id: str) -> Iterator[Lab]:
    """Start a lab with the flavor `debian`, where its image is built: that takes minutes of its own."""
    if guest.debian_if_built() is None:
        pytest.skip("the Debian guest is not built; `make guest-debian` builds it")
    lab = Lab(f"debian-{worker_id}")
    lab.down()
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def student(debian_lab: Lab, tmp_path: Path) -> Iterator[Student]:
    """Yield a student with a key and without a slice; ssh refuses files below folders that others can read."""
    home = debian_lab.folder / tmp_path.name
    home.mkdir()
    paths.caller().own(home)
    student = Student(debian_lab, home)
    student.add_key()
    yield student
    student.delete_slice()


def test_a_stock_image_boots_to_ssh_with_no_step_but_those_of_the_menu(student: Student) -> None:
    student.deploy(ALONE)
    student.wait_for_ssh("h1", BOOT_SECONDS)
    assert student.ssh("h1", "hostname; whoami; sudo whoami; sudo passwd --status root | cut -d' ' -f-2") == (
        "h1\ndebian\nroot\nroot L\n"
    )
    assert student.addresses_in("h1") == student.vms()["h1"].addresses
    student.scp("h1", "/etc/hostname", "hostname")
    assert (student.home / "hostname").read_text() == "h1\n"


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="two boots of Debian without KVM take minutes: `make torture` runs it")
def test_a_guest_whose_first_boot_loses_its_power_comes_back_and_has_its_new_address(student: Student) -> None:
    """The power is cut when sshd answers for the first time: then its keys are not on the disk yet."""
    student.deploy(FIXED)
    seconds_to_ssh(student.lab, "network", student.vms()["h1"].addresses["eth0"], 22, BOOT_SECONDS)
    student.cli("stop", "lab", "h1", "--now", "--yes")
    assert student.vms()["h1"].addresses["eth1"] == "10.1.2.1"
    give_address(student.lab.database, "h1", "10.1.2.5")
    student.cli("start", "lab", "h1")
    student.wait_for_ssh("h1", BOOT_SECONDS)
    assert student.addresses_in("h1") == student.vms()["h1"].addresses
    assert student.addresses_in("h1")["eth1"] == "10.1.2.5"
    assert "10.1.2.1/" not in student.ssh("h1", "ip -4 addr")
    assert student.ssh("h1", "sudo find /etc/ssh /etc/sudoers.d ~/.bashrc ~/.profile -type f -empty") == ""
    student.wait_for("h1", "sudo cat /var/lib/cloud/instance/first-boot-is-kept", "kept", BOOT_SECONDS)
    assert student.wait_for("h1", "sudo cat /root/runs", "run", BOOT_SECONDS) == "run\n"
    assert student.ssh("h1", "systemctl --failed --no-legend --plain; sudo cloud-init schema --system") == (
        "Valid cloud-config: system userdata\n"
    )


def give_address(database: Path, name: str, address: str) -> None:
    """Give an end of a link another fixed address, as the design of a stopped slice may get it."""
    record = yaml.safe_load(database.read_text(encoding="utf-8"))
    (nic,) = (
        nic
        for slice_ in record["slices"].values()
        for vm in slice_["vms"]
        for nic in vm["interfaces"]
        if vm["name"] == name and nic.get("address")
    )
    nic["address"] = address
    database.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="four Debians without KVM take minutes: `make torture` runs it")
def test_a_student_routes_with_ospf_resets_a_router_and_restores_a_file(student: Student) -> None:
    student.deploy(ROUTED)
    seen = student.vms()
    assert len({vm.worker for vm in seen.values()}) == 2
    assert seen["r1"].addresses["eth2"] == "10.1.2.1"
    beyond = seen["h2"].addresses["eth1"].rpartition(".")[0]

    def is_as_shown(name: str) -> None:
        student.wait_for_ssh(name, BOOT_SECONDS)
        assert student.ssh(name, "hostname") == f"{name}\n"
        assert student.addresses_in(name) == seen[name].addresses == student.vms()[name].addresses
        (way,) = student.ssh(name, "ip route show default").splitlines()
        assert f"dev {WAYS_OUT[name]} " in way

    def routes() -> None:
        student.wait_for("r1", NEIGHBOURS, "Full/", BOOT_SECONDS)
        student.wait_for("r1", "ip route show proto ospf", f"{beyond}.0/24", 60)

    for name in seen:
        is_as_shown(name)
        student.wait_for(name, "cloud-init status --wait --long", "DataSourceNoCloud", BOOT_SECONDS)
        assert student.ssh(name, "systemctl --failed --no-legend --plain; sudo cloud-init schema --system") == (
            "Valid cloud-config: system userdata\n"
        )
    routes()

    student.ssh("r1", "touch gone-with-the-disk")
    student.cli("reset", "lab", "r1", "--yes", timeout=BOOT_SECONDS)
    student.set_up_ssh()
    is_as_shown("r1")
    assert student.ssh("r1", "ls") == ""
    routes()

    student.ssh("r2", "echo kept >notes; sync")
    student.cli("snapshot", "lab", "before", "r2")
    student.ssh("r2", "rm notes; sync")
    student.cli("restore", "lab", "before", "r2", "--yes", timeout=BOOT_SECONDS)
    is_as_shown("r2")
    assert student.ssh("r2", "cat notes") == "kept\n"
    routes()


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="two Debians without KVM take minutes: `make torture` runs it")
def test_ssh_answers_as_soon_as_in_the_same_guest_started_by_hand(student: Student) -> None:
    lab = student.lab
    slice_id = student.create(ALONE)
    began = time.monotonic()
    student.cli("deploy", "lab")
    vm = student.vms()["h1"]
    deployment = time.monotonic() - began
    with started_by_hand(lab, slice_id, vm, guest.debian(print)), ThreadPoolExecutor() as pool:
        by_hand = pool.submit(seconds_to_ssh, lab, vm.worker, LOOPBACK, PORT, BOOT_SECONDS)
        deployed = deployment + seconds_to_ssh(lab, "network", vm.addresses["eth0"], 22, BOOT_SECONDS)
    figures = f"deployment {deployment:.1f} s, ssh answers after {deployed:.1f} s, by hand {by_hand.result():.1f} s"
    logging.getLogger(__name__).info(figures)
    assert deployed <= MOST * by_hand.result(), figures

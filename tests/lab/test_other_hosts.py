"""The product on hosts with other settings: user, folders, sudo, network, and a login with a greeting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import GuestConsole, Lab
from tests.support.lab.visitor import HOSTS, Menu, age_measurements, empty_database, traces

pytestmark = pytest.mark.lab

IMAGES = "/srv/keeper/images"

_PREPARE = r"""
useradd --create-home --shell /bin/bash --password '*' keeper
echo 'Defaults:keeper use_pty, !requiretty' >/etc/sudoers.d/keeper
echo 'keeper ALL=(root) NOPASSWD: /usr/bin/sh -s' >>/etc/sudoers.d/keeper
install -d -o keeper -m 700 ~keeper/.ssh /srv/keeper
install -o keeper -m 600 ~ubuntu/.ssh/authorized_keys ~keeper/.ssh/authorized_keys
{ echo 'echo good morning'; echo 'echo have a nice day >&2'; } | cat - ~keeper/.bashrc >/tmp/bashrc
mv /tmp/bashrc ~keeper/.bashrc
chown -R keeper: ~keeper
"""


@dataclass
class OtherLab:
    """The lab, seen through another database."""

    lab: Lab
    database: Path

    def menu(self) -> Menu:
        return Menu(self.lab, database=self.database)


@pytest.fixture(scope="module")
def other(lab: Lab, home: Path) -> OtherLab:
    for host in HOSTS.values():
        lab.exec(host, ["bash", "-c", _PREPARE])

    def elsewhere(record: dict[str, Any]) -> None:
        record["ssh"]["user"] = "keeper"
        record["hypervisor"]["images_dir"] = IMAGES
        record["internet"] |= {"vlan_id": 450, "cidr": "172.30.5.0/24", "gateway": "172.30.5.1"}

    return OtherLab(lab, empty_database(lab, home / "database.yaml", elsewhere))


def test_a_slice_lives_and_dies_there_too(other: OtherLab) -> None:
    lab, menu = other.lab, other.menu()
    slice_id = menu.create_slice("elsewhere")
    for name in ("warm", "up"):  # the base image comes to both workers, and stays
        menu.add_vm(slice_id, name, 0)
    menu.delete(slice_id)
    before = traces(lab)
    slice_id = menu.create_slice("elsewhere")
    one, two = (menu.add_vm(slice_id, name, 1, internet=True) for name in ("one", "two"))
    menu.link(slice_id, one, "eth1", two, "eth1")
    menu.deploy(slice_id)
    seen = menu.topology(slice_id)
    assert seen["one"].addresses["eth0"].startswith("172.30.5.")
    assert seen["one"].vlans["eth0"] == 450
    processes = lab.exec("worker1", ["sh", "-c", "ps -eo user:20,args | grep '[q]emu-system'"]).stdout
    assert processes.startswith("keeper ")
    with GuestConsole(lab, "worker1", f"{IMAGES}/slice-{slice_id}/one.console") as console:
        console.login(120)
        assert any(console.run("ping -c 1 -W 2 8.8.8.8")[1] == 0 for _ in range(20))
        assert any(console.run(f"ping -c 1 -W 2 {seen['two'].addresses['eth1']}")[1] == 0 for _ in range(20))
    menu.delete(slice_id)
    menu.close()
    assert traces(lab) == before


def test_a_flavor_with_an_image_of_another_name_and_size(other: OtherLab, home: Path) -> None:
    """Use spaces in the image's name; a disk has its flavor's size, and a larger image is refused."""
    image = home / "my own image.qcow2"
    other.lab.run(["qemu-img", "convert", "-O", "qcow2", str(other.lab.image), str(image)])
    other.lab.run(["qemu-img", "resize", "-q", str(image), "3G"])
    record = yaml.safe_load(other.database.read_text(encoding="utf-8"))
    own = {
        name: {"cores": 2, "ram_gb": 0.25, "disk_gb": size, "image": str(image)}
        for name, size in (("own", 3), ("small", 1))
    }
    record["flavors"] = own | record["flavors"]
    other.database.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    menu = other.menu()
    slice_id = menu.create_slice("own")
    assert "is a disk of 3072 MiB, and flavor small has 1024 MiB" in menu.choose(3, slice_id, "small", 4, 0, "n")
    shown = menu.choose(3, slice_id, "mine", 3, 0, "n")
    assert "Flavor: own" in shown, shown
    menu.deploy(slice_id)
    (worker,) = [vm.worker for vm in menu.topology(slice_id).values()]
    with GuestConsole(other.lab, worker, f"{IMAGES}/slice-{slice_id}/mine.console") as console:
        console.login(120)
        assert console.run("cat /sys/block/vda/size")[0].split() == [str(3 * 2**30 // 512)]
        assert console.run("nproc")[0].split() == ["2"]
    menu.delete(slice_id)
    menu.close()


def test_a_user_without_sudo_is_reported(other: OtherLab) -> None:
    for host in HOSTS.values():
        other.lab.exec(host, ["mv", "/etc/sudoers.d/keeper", "/root/sudoers"])
    try:
        age_measurements(other.database)
        menu = other.menu()
        assert menu.greeting.count("Warning: worker") == 2
        shown = menu.choose(1)
        assert "sudo refuses" in shown
        menu.close()
    finally:
        for host in HOSTS.values():
            other.lab.exec(host, ["mv", "/root/sudoers", "/etc/sudoers.d/keeper"])
        age_measurements(other.database)

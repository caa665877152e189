"""Links with more than two ends, and with fewer services: what guests and the network node see of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab import Lab
from tests.support.lab.visitor import Guest, Menu, traces
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

FILE = """\
slice: lans
vms: {a: {flavor: cirros, nics: 3}, b: {flavor: cirros, nics: 3}, c: {flavor: cirros, nics: 3}}
links:
- {ends: ["a:eth1", "b:eth1", "c:eth1"], name: core, cidr: 10.1.0.0/16, addresses: {b: 10.1.0.99}}
- {ends: ["a:eth2", "b:eth2", "c:eth2"], services: dhcp}
- {ends: ["a:eth3", "c:eth3"], services: none}
"""


def command(lab: Lab, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of the operator on the lab's database."""
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database), *words]
    process = lab.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = process.communicate(text.encode(), timeout=240)
    return subprocess.CompletedProcess(argv, process.returncode, out.decode(), errors.decode())


class Lans:
    """The slice of the file, running, with a shell in each guest."""

    def __init__(self, lab: Lab, menu: Menu) -> None:
        self.lab = lab
        made = command(lab, "create", "-", "--json", text=FILE)
        assert made.returncode == 0, made.stderr
        self.slice_id = int(json.loads(made.stdout)["slice_id"])
        menu.deploy(self.slice_id)
        self.seen = menu.topology(self.slice_id)
        self.guests = {name: Guest(lab, self.slice_id, vm) for name, vm in self.seen.items()}

    def hang_up(self) -> None:
        for guest in self.guests.values():
            guest.console.close()


@pytest.fixture(scope="module")
def lans(lab: Lab, before: dict[str, str]) -> Iterator[Lans]:
    menu = Menu(lab)
    made = Lans(lab, menu)
    yield made
    made.hang_up()
    menu.delete(made.slice_id)
    menu.close()
    assert traces(lab) == before


def test_the_guests_have_the_addresses_that_the_menu_shows(lans: Lans) -> None:
    """`Guest` waits for them; here are those that the file decides."""
    core = {name: vm.addresses["eth1"] for name, vm in lans.seen.items()}
    assert core == {"a": "10.1.0.10", "b": "10.1.0.99", "c": "10.1.0.11"}
    assert {vm.worker for vm in lans.seen.values()} == {"worker1", "worker2"}
    assert not any("eth3" in vm.addresses for vm in lans.seen.values())


@pytest.mark.parametrize("nic", ["eth1", "eth2"])
def test_all_ends_of_a_lan_reach_each_other(lans: Lans, nic: str) -> None:
    for name, guest in lans.guests.items():
        assert all(guest.reaches(vm.addresses[nic]) for other, vm in lans.seen.items() if other != name)


def test_a_gateway_is_where_the_services_name_one(lans: Lans) -> None:
    guest = lans.guests["a"]
    assert guest.reaches("10.1.0.1")
    assert guest.never_reaches(re.sub(r"\d+$", "1", lans.seen["a"].addresses["eth2"]))
    assert re.findall(r"default via ([\d.]+) dev (\w+)", guest.run("ip route")) == [("10.1.0.1", "eth1")]


def test_a_link_without_services_carries_frames_and_nothing_of_ours(lans: Lans) -> None:
    vlan = lans.seen["a"].vlans["eth3"]
    ports = lans.lab.exec("network", ["ovs-vsctl", "list-ports", "br-int"]).stdout
    assert f"vlan{vlan}" not in ports
    assert f"v{vlan}" not in lans.lab.exec("network", ["ip", "netns"]).stdout
    for name, address in (("a", "172.16.9.1"), ("c", "172.16.9.2")):
        lans.guests[name].run(f"ip addr add {address}/30 dev eth3")
    assert lans.guests["a"].reaches("172.16.9.2")


def test_doctor_and_the_proof_find_nothing(lans: Lans) -> None:
    for words in (("doctor",), ("prove",)):
        answer = command(lans.lab, *words)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_export_is_the_file_again(lans: Lans) -> None:
    exported = command(lans.lab, "export", "lans").stdout
    made = command(lans.lab, "validate", "-", text=exported)
    assert made.returncode == 0, made.stderr
    assert "cidr: 10.1.0.0/16" in exported
    assert "services: none" in exported

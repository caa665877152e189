"""Slices through the menu, and the state of hosts and guests."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import pytest

from lab import Lab
from tests.support.lab.visitor import Guest, Menu, SeenVM, traces, wait_until
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

ON_AND_ON = "ping -c 9000 -i 0.1"
"""Pings for longer than any deletion takes."""


class LineOfThree:
    """web -- app -- db over two workers, web with internet."""

    def __init__(self, lab: Lab, menu: Menu, name: str, *, app_has_internet: bool = False) -> None:
        self.lab = lab
        self.slice_id = menu.create_slice(name)
        web = menu.add_vm(self.slice_id, "web", 1, internet=True)
        app = menu.add_vm(self.slice_id, "app", 2, internet=app_has_internet)
        db = menu.add_vm(self.slice_id, "db", 2)
        self.vlans = (
            menu.link(self.slice_id, web, "eth1", app, "eth1"),
            menu.link(self.slice_id, app, "eth2", db, "eth1"),
        )
        menu.deploy(self.slice_id)
        self.seen = menu.topology(self.slice_id)
        self._guests: dict[str, Guest] = {}

    def vm(self, name: str) -> SeenVM:
        return self.seen[name]

    def guest(self, name: str) -> Guest:
        if name not in self._guests:
            self._guests[name] = Guest(self.lab, self.slice_id, self.seen[name])
        return self._guests[name]

    def hang_up(self) -> None:
        for guest in self._guests.values():
            guest.console.close()


def go_to_pool(menu: Menu, pools: Collection[int]) -> None:
    """Spend ids until the next slice has one of these pools of VLANs."""
    while (spent := menu.create_slice("spare") + 1) % 100 not in pools:
        menu.delete(spent - 1)
    menu.delete(spent - 1)


@pytest.fixture(scope="module")
def line(lab: Lab) -> Iterator[LineOfThree]:
    menu = Menu(lab)
    go_to_pool(menu, range(36))  # of 100 pools, the one 64 further on has the same subnets
    made = LineOfThree(lab, menu, "line")
    yield made
    made.hang_up()
    menu.delete(made.slice_id)
    menu.close()


# --- one slice --------------------------------------------------------------------------------------------------------


def test_vms_are_spread_over_the_workers_and_run(line: LineOfThree) -> None:
    assert [line.vm(name).worker for name in ("web", "app", "db")] == ["worker1", "worker2", "worker1"]
    assert all(vm.running for vm in line.seen.values())


def test_the_addresses_in_the_menu_are_those_in_the_guests(line: LineOfThree) -> None:
    assert line.vm("web").addresses["eth0"].startswith("10.60.7.")
    for name, vm in line.seen.items():
        assert line.guest(name).addresses() == vm.addresses


def test_the_guest_sees_every_interface_in_order_with_its_mac(line: LineOfThree) -> None:
    for name, vm in line.seen.items():
        shown = line.guest(name).run("ip -o link")
        assert dict(re.findall(r"(eth\d+): .*?link/ether ([0-9a-f:]+)", shown)) == vm.macs
    assert set(line.vm("db").macs) == {"eth0", "eth1", "eth2"}, "two of them without a wire"


def test_neighbours_reach_each_other_over_the_right_vlan(line: LineOfThree, lab: Lab) -> None:
    assert line.guest("web").reaches(line.vm("app").addresses["eth1"])
    assert line.guest("db").reaches(line.vm("app").addresses["eth2"])
    tags = {vm.name: {nic: _tag(lab, vm, nic) for nic in vm.vlans} for vm in line.seen.values()}
    first, second = line.vlans
    assert tags == {"web": {"eth0": 400, "eth1": first}, "app": {"eth1": first, "eth2": second}, "db": {"eth1": second}}


def test_no_port_is_without_a_tag(line: LineOfThree, lab: Lab) -> None:
    for host in ("worker1", "worker2", "network"):
        ports = lab.exec(
            host, ["ovs-vsctl", "--format=csv", "--no-headings", "--columns=name,tag", "list", "Port"]
        ).stdout
        untagged = {row.split(",")[0] for row in ports.split() if row.endswith(",[]")}
        assert untagged == {"br-int", "ens4"}
    assert line.seen


def test_the_ends_do_not_reach_each_other_at_layer_2(line: LineOfThree) -> None:
    db = line.vm("db").addresses["eth1"]
    web = line.guest("web")
    assert web.reaches(line.vm("app").addresses["eth1"])
    web.run(f"ip addr add {db.rsplit('.', 1)[0]}.77/24 dev eth1")
    try:
        assert not web.succeeds(f"arping -c 3 -w 4 -I eth1 {db}")
    finally:
        web.run(f"ip addr del {db.rsplit('.', 1)[0]}.77/24 dev eth1")


def test_internet_is_there_for_the_vm_that_has_it_only(line: LineOfThree) -> None:
    assert line.guest("web").reaches("8.8.8.8")
    assert line.guest("web").succeeds("wget -q -O /dev/null http://8.8.8.8/")
    assert line.guest("db").never_reaches("8.8.8.8")


def test_internet_does_not_lead_to_the_clouds_own_hosts(line: LineOfThree) -> None:
    for address in ("10.0.10.1", "10.0.10.2", "10.0.10.3", "10.60.7.1"):
        assert not line.guest("web").succeeds(f"nc -w 2 {address} 22 </dev/null"), address


def test_links_of_a_slice_are_routed_by_its_own_gateways(line: LineOfThree) -> None:
    web, db = line.guest("web"), line.vm("db").addresses["eth1"]
    subnet, gateway = f"{db.rsplit('.', 1)[0]}.0/24", f"{line.vm('web').addresses['eth1'].rsplit('.', 1)[0]}.1"
    web.run(f"ip route replace {subnet} via {gateway} dev eth1")
    assert web.reaches(db)


def test_a_vm_with_internet_has_one_default_route_and_the_other_subnets_by_option_121(line: LineOfThree) -> None:
    """Check that a link's gateway is no default: of several, some DHCP clients take the last one.

    VMs without internet keep theirs.
    """
    web, db = line.guest("web"), line.guest("db")
    assert re.findall(r"^default via (\S+) dev (\S+)", web.run("ip route"), re.MULTILINE) == [("10.60.7.1", "eth0")]
    assert " dev eth1" in db.run("ip route show default")
    web.run("printf '#!/bin/sh\\necho \"$1 routes=$staticroutes router=$router\"\\n' >/tmp/show; chmod 755 /tmp/show")
    subnet = f"{line.vm('db').addresses['eth1'].rpartition('.')[0]}.0/24"
    gateway = f"{line.vm('web').addresses['eth1'].rpartition('.')[0]}.1"
    shown = web.run("udhcpc -f -q -n -t 9 -T 1 -i eth1 -O staticroutes -s /tmp/show")
    assert f"bound routes={subnet} {gateway} router=\n" in f"{shown}\n"


def test_the_disk_is_the_flavors_and_can_be_written(line: LineOfThree) -> None:
    assert line.guest("app").run("cat /sys/block/vda/size").split()[0] == str(1024 * 1024 * 2)
    assert line.guest("app").succeeds("disktest 8")


def test_qemu_runs_as_the_ssh_user_and_shows_no_secret(line: LineOfThree, lab: Lab) -> None:
    shown = lab.exec("worker1", ["sh", "-c", "ps -eo user:20,args | grep '[q]emu-system'"]).stdout
    assert len(shown.splitlines()) == 2
    for process in shown.splitlines():
        assert process.startswith("ubuntu ")
        assert "password-secret=vnc" in process
        assert "-sandbox on" in process
    secrets = set(re.findall(r"password (\w{8})", line.vm("web").text))
    assert len(secrets) == 1
    assert not secrets & set(shown.split())


def test_vnc_listens_and_asks_for_its_password(line: LineOfThree, lab: Lab) -> None:
    """Read the server's version and security types (RFC 6143, 7.1); 2 is VNC authentication."""
    address, port = re.findall(r"VNC ([\d.]+):(\d+)", line.vm("web").text)[0]
    client = (
        f"import socket; s = socket.create_connection(({address!r}, {port}), 5);"
        " v = s.recv(12); s.sendall(v); print(v.decode().strip(), list(s.recv(2)))"
    )
    assert lab.run(["python3", "-c", client]).stdout.split() == ["RFB", "003.008", "[1,", "2]"]


def test_the_console_of_the_menu_is_the_guests(line: LineOfThree, lab: Lab) -> None:
    line.guest("db").console.close()
    del line._guests["db"]
    menu = Menu(lab)
    menu.type("9", str(line.vm("db").vm_id))
    menu.read("Connected to db")
    menu.type("", "echo it is $((6 * 7))")
    menu.read("it is 42")
    menu.type("\x1d")
    assert "Left the console" in menu.read()
    menu.close()


def test_consoles_and_slices_of_others_are_not_there(line: LineOfThree, lab: Lab) -> None:
    menu = Menu(lab, "student")
    assert f"Error: You have no VM {line.vm('web').vm_id}" in menu.choose(9, line.vm("web").vm_id)
    assert f"Error: You have no slice {line.slice_id}" in menu.choose(6, line.slice_id)
    assert "web" not in menu.choose(5)
    menu.close()


def test_a_second_run_of_the_same_plan_changes_nothing(line: LineOfThree, lab: Lab) -> None:
    before = traces(lab)
    script = [f"{ROOT}/.venv/bin/python", "-m", "tests.support.lab.rerun", str(lab.database), str(line.slice_id)]
    assert lab.run(script).stdout == "error: None\nchanged: []\n"
    assert traces(lab) == before


# --- two slices -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twin(lab: Lab, line: LineOfThree) -> Iterator[LineOfThree]:
    """Yield another user's slice with equal VM names and an equal first subnet: 64 pools further on."""
    menu = Menu(lab, "student")
    go_to_pool(menu, [line.slice_id % 100 + 64])
    other = LineOfThree(lab, menu, "twin", app_has_internet=True)
    yield other
    other.hang_up()
    if f"Slice {other.slice_id}:" in menu.choose(5):
        menu.delete(other.slice_id)
    menu.close()


def test_slices_with_equal_names_and_subnets_live_side_by_side(line: LineOfThree, twin: LineOfThree) -> None:
    assert set(line.vlans).isdisjoint(twin.vlans)
    assert line.vm("app").addresses["eth1"] == twin.vm("app").addresses["eth1"]
    for each in (line, twin):
        address = each.vm("app").addresses["eth1"]
        web, _ = each.guest("web"), each.guest("app")  # both have booted and have their addresses
        assert web.reaches(address)
        assert each.vm("app").macs["eth1"] in web.run(f"ip neigh show {address}")


def test_slices_do_not_reach_each_other_by_way_of_their_gateways(line: LineOfThree, twin: LineOfThree) -> None:
    """Try the subnet of the second link of `line`: no router of `twin` knows it."""
    web = twin.guest("web")
    gateway = f"{twin.vm('web').addresses['eth1'].rsplit('.', 1)[0]}.1"
    for vlan in line.vlans:
        if vlan % 256 not in {own % 256 for own in twin.vlans}:
            web.run(f"ip route replace 192.168.{vlan % 256}.0/24 via {gateway} dev eth1")
            assert web.never_reaches(f"192.168.{vlan % 256}.1")
    assert web.reaches(gateway)


@pytest.mark.parametrize("name", ["web", "app"])
def test_vms_of_two_slices_do_not_reach_each_other_on_the_internet_vlan(
    line: LineOfThree, twin: LineOfThree, name: str
) -> None:
    """Try one target on the same worker and one on the other worker."""
    assert {twin.vm("web").worker, twin.vm("app").worker} == {"worker1", "worker2"}
    web, victim = line.guest("web"), twin.vm(name).addresses["eth0"]
    assert twin.guest(name).reaches("8.8.8.8")
    assert web.never_reaches(victim)
    assert not web.succeeds(f"arping -c 3 -w 4 -I eth0 {victim}")
    web.run(f"ip neigh replace {victim} lladdr {twin.vm(name).macs['eth0']} dev eth0")
    assert web.never_reaches(victim), "not with the right MAC either"
    web.run(f"ip neigh del {victim} dev eth0")


def test_a_vm_cannot_take_anothers_address_or_mac(line: LineOfThree, twin: LineOfThree) -> None:
    web, theirs = line.guest("web"), twin.vm("web")
    own, victim = line.vm("web"), theirs.addresses["eth0"]
    web.run(f"ip addr add {victim}/24 dev eth0")
    try:
        assert not web.succeeds(f"ping -c 3 -W 1 -I {victim} 10.60.7.1")
        assert not web.succeeds(f"arping -c 2 -w 3 -I eth0 -s {victim} 10.60.7.1")
        assert twin.guest("web").reaches("8.8.8.8")
    finally:
        web.run(f"ip addr del {victim}/24 dev eth0")
    web.run(f"ip link set eth0 down; ip link set eth0 address {theirs.macs['eth0']} up")
    try:
        assert not web.succeeds("ping -c 3 -W 1 10.60.7.1")
        assert twin.guest("web").reaches("8.8.8.8")
    finally:
        web.run(f"ip link set eth0 down; ip link set eth0 address {own.macs['eth0']} up")
    web.run("ip route replace default via 10.60.7.1 dev eth0")
    assert web.reaches("8.8.8.8")


def test_deleting_one_slice_leaves_the_others_packets_flowing(line: LineOfThree, twin: LineOfThree, lab: Lab) -> None:
    web, address = line.guest("web"), line.vm("app").addresses["eth1"]
    assert web.reaches(address)
    assert web.reaches("8.8.8.8")
    targets = (address, "8.8.8.8")
    for target in targets:
        web.run(f"{ON_AND_ON} {target} >/tmp/{target} 2>&1 & echo $! >/tmp/{target}.pid")
    twin.hang_up()
    menu = Menu(lab, "student")
    before = [len(_answers(web, target)) for target in targets]
    menu.delete(twin.slice_id)
    menu.close()
    for target, count in zip(targets, before, strict=True):
        wait_until(lambda target=target, count=count: len(_answers(web, target)) > count, "an answer afterwards", 30)  # type: ignore[misc]
        web.run(f"kill $(cat /tmp/{target}.pid)")
        answers = _answers(web, target)
        assert answers == list(range(len(answers))), "no answer is missing"
    assert web.succeeds("udhcpc -i eth0 -n -q -t 5"), "the internet's DHCP goes on serving"


def _answers(guest: Guest, target: str) -> list[int]:
    """Return the numbers of the pings that were answered."""
    return [int(number) for number in re.findall(r"seq=(\d+)", guest.run(f"grep -o seq=[0-9]* /tmp/{target}"))]


def _tag(lab: Lab, vm: SeenVM, nic: str) -> int:
    return int(lab.exec(vm.worker, ["ovs-vsctl", "get", "Port", f"tap_{vm.vm_id}_{nic}", "tag"]).stdout)

"""Problems of the hosts' own network, made by hand: a deployment reports them and changes nothing, like the doctor."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from lab import Lab, paths
from lab.topology import DATA, MANAGER, MGMT_PORT, NETWORK, SWITCH, switch_port
from tests.lab.test_drift import Pair, cli, codes
from tests.lab.test_failures import design
from tests.support.lab.visitor import Menu, traces

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]

UNCHANGED = "; nothing was changed and the slice is in design"
BACK = "; what was done has been taken back and the slice is in design"

Break = Callable[[Lab], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def menu(lab: Lab) -> Iterator[Menu]:
    """Return one session for all tests."""
    session = Menu(lab)
    yield session
    session.close()


@pytest.fixture(scope="module")
def designed(menu: Menu) -> Iterator[int]:
    """Return a slice in design, which no problem lets deploy."""
    slice_id = design(menu, "after")
    yield slice_id
    menu.delete(slice_id)


@pytest.fixture(scope="module")
def running(lab: Lab, menu: Menu) -> Iterator[Pair]:
    """Return a slice that ran before the first problem."""
    pair = Pair(lab, menu, "before")
    yield pair
    menu.delete(pair.slice_id)


def error(shown: str) -> str:
    """Return the sentence of a refusal."""
    (line,) = re.findall(r"^Error: (.*)$", shown, re.MULTILINE)
    return str(line)


def test_a_gateway_with_the_managers_address_is_reported_before_the_manager_is_locked_out(
    lab: Lab, designed: int
) -> None:
    """Give the guests' network the manager's address, while no slice has the gateway yet."""
    manager = [*lab.node(MANAGER).enter("--net"), "ip"]
    node, address = NETWORK.address, "10.60.7.1"
    way = (["addr", "{}", f"{address}/32", "dev", MGMT_PORT],
           ["route", "{}", f"{node}/32", "dev", MGMT_PORT, "src", address])  # fmt: skip
    lab.exec("network", ["ip", "route", "add", f"{address}/32", "dev", MGMT_PORT])
    try:
        for words in way:
            subprocess.run([*manager, *(word.format("add") for word in words)], check=True)
        menu = Menu(lab)
        assert error(menu.choose(6, designed)) == (
            f"{node}: way to the internet: internet: cidr: 10.60.7.0/24 holds {address}, which is connected by SSH: "
            f"is it the manager? Choose a network that nothing else uses{UNCHANGED}"
        )
        menu.close()
        assert codes(lab) == {"internet-overlap"}
    finally:
        for words in reversed(way):
            subprocess.run([*manager, *(word.format("del") for word in words)], check=True)
        lab.exec("network", ["ip", "route", "del", f"{address}/32"])


def changed(host: str, do: str, undo: str) -> Break:
    """Run a command as root on `host`, and another one that undoes it."""

    @contextmanager
    def change(lab: Lab) -> Iterator[None]:
        lab.exec(host, ["sh", "-c", do])
        try:
            yield
        finally:
            lab.exec(host, ["sh", "-c", undo])

    return change


CLEAR = "ovs-vsctl clear Port ens4 tag trunks vlan_mode"
TRUNK = f"make it a trunk with: {CLEAR}"
FOREIGN = "nft add chain inet foreign forward '{ type filter hook forward priority -10; policy drop; }'"
STATE = "nft add rule inet foreign forward ct state established,related accept"

FLOW_GONE = "br-int passes no frame on, its own flow is gone; put it back with: "
BLOCKED = "another firewall drops what guests send to the internet: chain forward of table inet foreign (nftables)"
BREAKS: dict[str, tuple[Break, str, str, str]] = {
    # problem: cause, code, sentence of a deployment, sentence of the menu about the running slice
    "no flow NORMAL": (
        changed("worker1", "ovs-ofctl --strict del-flows br-int priority=0",
                "ovs-ofctl add-flow br-int priority=0,actions=NORMAL"),
        "normal-missing",
        f"10.0.10.1: bridge br-int: {FLOW_GONE}ovs-ofctl add-flow br-int priority=0,actions=NORMAL",
        "10.0.10.1: br-int passes no frames: its own flow, priority=0 actions=NORMAL, is gone",
    ),
    "no data port": (
        changed("worker2", "ovs-vsctl del-port br-int ens4", "ovs-vsctl add-port br-int ens4"),
        "data-port-missing",
        "10.0.10.2: bridge br-int: no port of br-int leads to the other hosts; add that of the data network",
        "10.0.10.2: no port of br-int leads to the other hosts",
    ),
    "a data port with a tag": (
        changed("network", "ovs-vsctl set Port ens4 tag=1", CLEAR),
        "data-port-tagged",
        f"10.0.10.3: bridge br-int: its data port ens4 carries the VLAN of its tag only; {TRUNK}",
        "10.0.10.3: the data port ens4 carries the VLAN of its tag only",
    ),
    "a data port with a list of VLANs": (
        changed("worker1", "ovs-vsctl set Port ens4 trunks=2,3", CLEAR),
        "data-port-tagged",
        "10.0.10.1: bridge br-int: its data port ens4 does not carry VLAN ",
        "10.0.10.1: the data port ens4 does not carry VLAN",
    ),
    "a data port that is down": (
        changed("worker2", "ip link set ens4 down", "ip link set ens4 up"),
        "data-port-down",
        "10.0.10.2: bridge br-int: its data port ens4 is down; bring it up with: ip link set ens4 up",
        "10.0.10.2: the data port ens4 is down",
    ),
    "a foreign firewall": (
        changed("network", f"nft add table inet foreign && {FOREIGN} && {STATE}", "nft delete table inet foreign"),
        "internet-blocked",
        f"10.0.10.3: way to the internet: {BLOCKED}; let gw_vlan400 pass there, in both directions, or remove it",
        f"10.0.10.3: {BLOCKED}",
    ),
    "a route into the guests' network": (
        changed("network", "ip route add 10.60.7.128/25 via 10.0.10.254", "ip route del 10.60.7.128/25"),
        "internet-overlap",
        "10.0.10.3: way to the internet: internet: cidr: 10.60.7.0/24 is in use here: route to 10.60.7.128/25",
        "10.0.10.3: internet: cidr: 10.60.7.0/24 is in use: a route to 10.60.7.128/25 by ens3",
    ),
}  # fmt: skip
TOGETHER = [list(BREAKS)[:3], list(BREAKS)[3:6], list(BREAKS)[6:]]
"""Problems that are made together, one per host: a preflight reports the first of a host."""


@pytest.mark.parametrize("broken", TOGETHER, ids=["some", "others", "the last"])
def test_each_problem_of_a_host_is_reported_before_any_change(
    lab: Lab, running: Pair, designed: int, broken: list[str]
) -> None:
    before = traces(lab)
    with ExitStack() as stack:
        for what in broken:
            stack.enter_context(BREAKS[what][0](lab))
        shown = running.menu.choose(6, designed)
        problems = running.problems()
        found = codes(lab)
    for what in broken:
        _, code, said, reported = BREAKS[what]
        assert f"failed: {said}" in shown, what
        assert code in found, what
        assert any(f"problem: {reported}" in line for line in problems), what
    assert error(shown).endswith(UNCHANGED)
    assert found == {BREAKS[what][1] for what in broken}
    assert not any("11 repairs it" in line for line in problems)
    assert traces(lab) == before
    assert codes(lab) == set()
    assert running.problems() == []


def with_uplink(lab: Lab, home: Path, uplink: str) -> Path:
    """Return a copy of the file with another uplink."""
    copy = home / f"{uplink}.yaml"
    copy.write_text(lab.database.read_text().replace("uplink: ens3", f"uplink: {uplink}"))
    copy.chmod(0o600)
    paths.caller().own(copy)
    return copy


def test_a_missing_uplink_is_reported(lab: Lab, running: Pair, designed: int, home: Path) -> None:
    copy = with_uplink(lab, home, "eth0")
    menu = Menu(lab, "admin", copy)
    assert error(menu.choose(6, designed)) == (
        "10.0.10.3: way to the internet: internet: uplink: there is no interface eth0; the default route is by ens3; "
        f"set it in database.yaml{UNCHANGED}"
    )
    menu.close()
    assert codes(lab, database=copy) == {"uplink-missing", "rules-missing"}
    assert running.problems() == [], "by its own file all is well"


def test_an_uplink_that_would_be_an_option_is_refused_with_its_line(lab: Lab, running: Pair, home: Path) -> None:
    status, said = cli(lab, "doctor", database=with_uplink(lab, home, "-j"))
    assert status != 0
    assert re.search(r"line \d+: internet.uplink: must be the name of a network interface", said)
    assert running


# --- the wire ---------------------------------------------------------------------------------------------------------


def switch(lab: Lab, *argv: str) -> None:
    """Run a command at the switch between the hosts."""
    subprocess.run([*lab.node(SWITCH).enter("--net"), *argv], check=True, capture_output=True)


@contextmanager
def unplugged(lab: Lab, host: str) -> Iterator[None]:
    """Keep the host's cable in the switch and drop all its frames: on the hosts all looks well."""
    port = switch_port(host, DATA)
    switch(lab, "ip", "link", "set", port, "nomaster")
    try:
        yield
    finally:
        switch(lab, "ip", "link", "set", port, "master", DATA)


@contextmanager
def without_vlan(lab: Lab, vlan: int) -> Iterator[None]:
    """Let the switch pass every VLAN but one."""
    switch(lab, "nft", "add", "table", "bridge", "trunk")
    try:
        switch(lab, "nft", "add", "chain", "bridge", "trunk", "f", "{ type filter hook forward priority 0; }")
        switch(lab, "nft", "add", "rule", "bridge", "trunk", "f", "vlan", "id", str(vlan), "drop")
        yield
    finally:
        switch(lab, "nft", "delete", "table", "bridge", "trunk")


NOTHING = {
    "worker1": "10.0.10.1: data network: VLAN {}: nothing arrives from any other host (10.0.10.2, 10.0.10.3); "
    "look at the wire of this host: ",
    "worker2": "10.0.10.1: data network: VLAN {}: nothing arrives from 10.0.10.2, from other hosts it does; "
    "look at the wire of 10.0.10.2: ",
    "network": "10.0.10.1: data network: VLAN {}: nothing arrives from 10.0.10.3, from other hosts it does; "
    "look at the wire of 10.0.10.3: ",
}


@pytest.mark.parametrize("host", NOTHING)
def test_a_wire_that_is_dead_is_no_deployment(lab: Lab, running: Pair, designed: int, host: str) -> None:
    """Cut the wire just after it worked: entries that br-int has learned earlier must not count."""
    assert running.repair() == []
    vlan = running.menu.topology(designed)["one"].vlans["eth1"]
    with unplugged(lab, host):
        before = traces(lab)
        shown = running.menu.choose(6, designed)
        assert error(shown).startswith(NOTHING[host].format(f"{vlan} and 1 more"))
        assert error(shown).endswith(BACK)
        assert "QEMU" not in shown, "no guest was started"
        assert traces(lab) == before
        if host == "network":  # a repair uses the same check: one case shows it
            repair = error(running.menu.choose(11, running.slice_id))
            assert repair.startswith(NOTHING[host].format(f"{running.vlan} and 1 more"))
            assert repair.endswith("; what runs was left alone; repair the slice again when that is solved")
    assert running.repair() == []


def test_a_vlan_that_the_switch_does_not_pass_is_named(lab: Lab, running: Pair, designed: int) -> None:
    vlan = running.menu.topology(designed)["one"].vlans["eth1"]
    with without_vlan(lab, vlan):
        said = error(running.menu.choose(6, designed))
        assert said.startswith(
            f"10.0.10.1: data network: VLAN {vlan}: nothing arrives from 10.0.10.2, 10.0.10.3, and on other VLANs it "
            "does: does the switch between the hosts pass them tagged (trunk)?"
        )
    running.menu.deploy(designed)


def test_slices_that_have_the_internet_only_share_a_worker_and_are_repaired(lab: Lab, running: Pair) -> None:
    """Deploy slices whose flows drop frames to one MAC; the check of the bridge uses a broadcast."""
    menu = Menu(lab)
    slices = [menu.create_slice(f"web{number}") for number in range(2)]
    for slice_id in slices:
        for name in ("one", "two"):
            menu.add_vm(slice_id, name, 0, internet=True)
        menu.deploy(slice_id)
    for slice_id in slices:
        assert "Nothing was missing" in menu.choose(11, slice_id)
        menu.delete(slice_id)
    menu.close()
    assert running

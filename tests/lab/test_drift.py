"""Hosts that drift under a running slice: the menu's problems, the steps of a repair, the doctor's removals."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from core.names import flow_cookie
from lab import Lab
from tests.lab.test_failures import design, foreign_process
from tests.support.lab.program import run_program
from tests.support.lab.visitor import IMAGES, Menu, traces, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]


def cli(lab: Lab, *words: str, database: Path | None = None) -> tuple[int, str]:
    """Run a subcommand of the program; return its exit status and its output."""
    done = run_program(lab, *words, database=database)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def codes(lab: Lab, *words: str, database: Path | None = None) -> set[str]:
    """Return the codes that the doctor finds."""
    _, said = cli(lab, "doctor", "--json", *words, database=database)
    return {finding["code"] for finding in json.loads(said)["findings"]}


class Pair:
    """Two linked VMs with internet, one on each worker. The link bounds what `two` receives."""

    def __init__(self, lab: Lab, menu: Menu, name: str) -> None:
        self.lab, self.menu = lab, menu
        self.slice_id = design(menu, name)
        assert cli(lab, "set-link", str(self.slice_id), "one-two", "--rate", "two=100mbit")[0] == 0
        menu.deploy(self.slice_id)
        self.vms = menu.topology(self.slice_id)
        overlay = f"{IMAGES}/slice-{self.slice_id}/one_img.qcow2"
        asked = lab.exec(self.vms["one"].worker, ["qemu-img", "info", "-U", "--output=json", overlay])
        self.image = Path(json.loads(asked.stdout)["backing-filename"]).name
        self.vlan = self.vms["one"].vlans["eth1"]

    def tap(self, name: str, nic: str) -> str:
        return f"tap_{self.vms[name].vm_id}_{nic}"

    def pid(self, name: str) -> str:
        return self.lab.exec(
            self.vms[name].worker, ["cat", f"{IMAGES}/slice-{self.slice_id}/{name}.pid"]
        ).stdout.strip()

    def problems(self) -> list[str]:
        """Return the problems that the menu shows for this slice, and what to do about them."""
        blocks = re.split(r"^(?=Slice )", self.menu.choose(5), flags=re.MULTILINE)
        (own,) = [block for block in blocks if block.startswith(f"Slice {self.slice_id}:")]
        return [line.strip() for line in own.splitlines() if line.startswith(("  problem: ", "    do: "))]

    def repair(self) -> list[str]:
        """Repair the slice and return the repaired objects."""
        shown = self.menu.choose(11, self.slice_id)
        if "Nothing was missing: 0 changes" in shown:
            return []
        assert "Slice repaired: " in shown, shown
        return [line.split(": ", 1)[1] for line in shown.splitlines() if line.startswith("  brought back: ")]


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Iterator[Pair]:
    menu = Menu(lab)
    made = Pair(lab, menu, "drift")
    yield made
    menu.delete(made.slice_id)
    menu.close()


def _kill_switch(host: str) -> Callable[[Pair], None]:
    """Kill ovs-vswitchd by its pid; the host starts it again."""

    def kill(pair: Pair) -> None:
        pid_file = "/run/openvswitch/ovs-vswitchd.pid"
        before = pair.lab.exec(host, ["cat", pid_file]).stdout
        pair.lab.exec(host, ["kill", "-KILL", before.strip()])

        def is_back() -> bool:
            now = pair.lab.exec(host, ["cat", pid_file], check=False).stdout
            answers = pair.lab.exec(host, ["ovs-appctl", "--timeout=2", "version"], check=False).returncode == 0
            return now not in ("", before) and answers

        wait_until(is_back, "ovs-vswitchd", 20)
        pair.lab.exec(
            host, ["ovs-vsctl", "--timeout=20", "set", "Open_vSwitch", ".", f"external_ids:seen={before.strip()}"]
        )

    return kill


def _exec(host: str, *argv: str) -> Callable[[Pair], None]:
    def act(pair: Pair) -> None:
        words = {
            "TAP": pair.tap("one", "eth1"), "SPARE": pair.tap("one", "eth2"), "NET": pair.tap("one", "eth0"),
            "PEER": pair.tap("two", "eth1"),
            "VLAN": str(pair.vlan), "COOKIE": flow_cookie(pair.slice_id), "SLICE": str(pair.slice_id),
        }  # fmt: skip
        line = [filled(word, words) for word in argv]
        pair.lab.exec(host, line)

    return act


def filled(word: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        word = word.replace(name, value)
    return word


def _kill_dnsmasq(pair: Pair) -> None:
    pid = pair.lab.exec("network", ["cat", f"/run/ns-dhcp-vlan{pair.vlan}/pid"]).stdout.strip()
    pair.lab.exec("network", ["kill", "-KILL", pid])


def _kill_qemu(pair: Pair) -> None:
    pair.lab.exec("worker1", ["kill", "-KILL", pair.pid("one")])
    folder = f"/proc/{pair.pid('one')}"
    wait_until(lambda: pair.lab.exec("worker1", ["test", "-d", folder], check=False).returncode != 0, "QEMU's end", 10)


DRIFT: dict[str, tuple[Callable[[Pair], None], set[str], set[str]]] = {
    # damage: codes of the doctor, steps of the repair
    "ovs-vswitchd of a worker is killed": (
        _kill_switch("worker1"), {"flows-missing"}, {"port security of the TAPs"},
    ),
    "ovs-vswitchd of the network node is killed": (
        _kill_switch("network"), {"port-astray"},
        {"gateways of the VLANs (NUMBER)", "DHCP of the VLANs (NUMBER)", "internet on VLAN 400"},
    ),
    "dnsmasq is killed": (_kill_dnsmasq, {"dnsmasq-dead"}, {"DHCP of the VLANs (NUMBER)"}),
    "the DHCP server has no address": (
        _exec("network", "ip", "-n", "ns-dhcp-vlanVLAN", "addr", "flush", "dev", "dhcp_vVLAN"),
        {"address-missing"}, {"DHCP of the VLANs (NUMBER)"},
    ),
    "reservations are deleted": (
        _exec("network", "rm", "/run/ns-dhcp-vlanVLAN/hosts/slice-SLICE"),
        {"reservations-missing"}, {"DHCP of the VLANs (NUMBER)"},
    ),
    "QEMU is killed": (_kill_qemu, {"qemu-dead"}, {"QEMU (one)", "start of the guests (one)"}),
    "a TAP is deleted": (
        _exec("worker1", "ip", "link", "del", "TAP"), {"tap-missing"},
        {"TAPs (ETH1)", "TAPs up (ETH1)", "QEMU (one)", "start of the guests (one)"},
    ),
    "a TAP speaks ARP": (
        _exec("worker1", "ip", "link", "set", "dev", "TAP", "arp", "on"), {"stack-open"},
        {"TAPs (ETH1)", "TAPs up (ETH1)"},
    ),
    "a TAP without a link is up": (
        _exec("worker1", "ip", "link", "set", "dev", "SPARE", "up"), {"tap-up"}, {"TAPs (ETH2)"},
    ),
    "a TAP without a link is a port": (
        _exec("worker1", "ovs-vsctl", "add-port", "br-int", "SPARE", "tag=VLAN", "--", "set", "Interface", "SPARE",
              "external_ids:owner=cloud-repositorio"),
        {"tap-joined"}, {"ports of the TAPs"},
    ),
    "a TAP is down": (_exec("worker1", "ip", "link", "set", "dev", "TAP", "down"), {"tap-down"}, {"TAPs up (ETH1)"}),
    "a port is deleted": (_exec("worker1", "ovs-vsctl", "del-port", "TAP"),
        # The flows contain the port's number, and the new port gets another one.
        {"port-missing", "flows-missing"}, {"ports of the TAPs", "port security of the TAPs", "TAPs up (ETH1)"},
    ),
    "a tag is wrong": (
        _exec("worker1", "ovs-vsctl", "set", "Port", "TAP", "tag=2099"), {"wrong-tag"},
        {"ports of the TAPs", "TAPs up (ETH1)"},
    ),
    "a tag is gone": (
        _exec("worker1", "ovs-vsctl", "clear", "Port", "TAP", "tag"), {"untagged-port"},
        {"ports of the TAPs", "TAPs up (ETH1)"},
    ),
    "a port is made a trunk": (
        _exec("worker1", "ovs-vsctl", "set", "Port", "TAP", "vlan_mode=trunk"),
        {"untagged-port"}, {"ports of the TAPs", "TAPs up (ETH1)"},
    ),
    "the rate of a link is gone": (
        _exec("worker2", "tc", "qdisc", "del", "dev", "PEER", "root"), {"queue-missing"}, {"queues of the TAPs (PEER)"},
    ),
    "a TAP has another rate than its link": (
        _exec("worker2", "sh", "-c", "ovs-vsctl set QoS $(ovs-vsctl --bare --columns=_uuid find QoS "
              "external_ids:tap=PEER) external_ids:queue='\"tbf rate 5kbit burst 3200 latency 50ms\"'"),
        {"queue-missing"}, {"queues of the TAPs (PEER)"},
    ),
    "a port takes tagged frames besides": (
        _exec("network", "ovs-vsctl", "set", "Port", "gw_vlanVLAN", "vlan_mode=native-tagged", "trunks=2098"),
        {"untagged-port"}, {"ports of the VLANs"},
    ),
    "flows are deleted": (
        _exec("worker1", "ovs-ofctl", "del-flows", "br-int", "arp"), {"flows-missing"}, {"port security of the TAPs"},
    ),
    "a flow is put in the place of another": (
        _exec("worker1", "sh", "-c", "ovs-ofctl --strict del-flows br-int priority=210,in_port=NET && "
              "ovs-ofctl add-flow br-int cookie=COOKIE,priority=211,in_port=NET,actions=NORMAL"),
        {"flows-missing"}, {"port security of the TAPs"},
    ),
    "a port of the internet VLAN is not protected": (
        _exec("worker1", "ovs-vsctl", "set", "Port", "NET", "protected=false"),
        {"port-unprotected"}, {"ports of the TAPs", "TAPs up (ETH0)"},
    ),
    "the DHCP server hears a VM no more": (
        _exec("network", "ip", "netns", "exec", "ns-dhcp-vlan400", "iptables", "-D", "slice-SLICE", "1"),
        {"filter-missing"}, {"internet on VLAN 400"},
    ),
    "the DHCP server hears everybody": (
        _exec("network", "ip", "netns", "exec", "ns-dhcp-vlan400", "sh", "-c",
              "iptables -A slice-SLICE -j ACCEPT && iptables -P INPUT ACCEPT"),
        {"filter-missing"}, {"internet on VLAN 400"},
    ),
    "a rule is deleted": (
        _exec("network", "iptables", "-D", "FORWARD", "-i", "gw_vlan400", "-m", "comment", "--comment",
              "cloud-repositorio", "-j", "DROP"),
        {"rules-missing"}, {"internet on VLAN 400"},
    ),
    "an address is gone": (
        _exec("network", "ip", "-n", "ns-gw-sliceSLICE", "addr", "flush", "dev", "gw_vlanVLAN"),
        {"address-missing"}, {"gateways of the VLANs (NUMBER)"},
    ),
    "the gateway of the internet VLAN has another MAC": (
        _exec("network", "ip", "link", "set", "dev", "gw_vlan400", "address", "02:c1:0d:00:00:99"),
        {"address-missing"}, {"internet on VLAN 400"},
    ),
    "the DHCP server of the internet VLAN has another MAC": (
        _exec("network", "ip", "-n", "ns-dhcp-vlan400", "link", "set", "dev", "dhcp_v400",
              "address", "02:c1:0d:00:00:99"),
        {"address-missing"}, {"internet on VLAN 400"},
    ),
    "a router does not route": (
        _exec("network", "ip", "netns", "exec", "ns-gw-sliceSLICE", "sysctl", "-q", "-w", "net.ipv4.ip_forward=0"),
        {"forwarding-off"}, {"gateways of the VLANs"},
    ),
    "a namespace is deleted": (
        _exec("network", "ip", "netns", "del", "ns-gw-sliceSLICE"), {"namespace-missing"},
        {"namespaces of the slice", "gateways of the VLANs (NUMBER)"},
    ),
    "a DHCP namespace is deleted under its server": (
        _exec("network", "ip", "netns", "del", "ns-dhcp-vlanVLAN"), {"namespace-missing"},
        {"namespaces of the slice", "DHCP of the VLANs (NUMBER)"},
    ),
    "forwarding is switched off": (
        _exec("network", "sysctl", "-q", "-w", "net.ipv4.ip_forward=0"), {"forwarding-off"}, {"internet on VLAN 400"},
    ),
}  # fmt: skip


def test_a_healthy_slice_is_shown_as_ever_and_a_repair_changes_nothing(pair: Pair, lab: Lab) -> None:
    before = traces(lab)
    assert pair.problems() == []
    assert pair.repair() == []
    assert pair.repair() == []
    assert traces(lab) == before
    assert cli(lab, "doctor") == (0, "Database and hosts agree: no findings\n")


@pytest.mark.parametrize("what", DRIFT)
def test_drift_is_reported_and_repaired_and_nothing_else_is_touched(pair: Pair, what: str) -> None:
    expect_drift(pair, *DRIFT[what])


OPENED: dict[str, tuple[Callable[[Pair], None], set[str]]] = {
    "the drop before the IP stack is gone": (_exec("worker1", "nft", "flush", "ruleset"), {"drop before the IP stack"}),
    "a TAP has IPv6": (_exec("worker1", "sysctl", "-q", "-w", "net.ipv6.conf.TAP.disable_ipv6=0"),
                       {"TAPs (ETH1)", "TAPs up (ETH1)"}),
    "the gateway of the internet VLAN has IPv6": (
        _exec("network", "sysctl", "-q", "-w", "net.ipv6.conf.gw_vlan400.disable_ipv6=0"), {"internet on VLAN 400"},
    ),
    "a DHCP server has IPv6": (
        _exec("network", "ip", "netns", "exec", "ns-dhcp-vlanVLAN", "sysctl", "-q", "-w",
              "net.ipv6.conf.dhcp_vVLAN.disable_ipv6=0"),
        {"namespaces of the slice"},
    ),
}  # fmt: skip
"""Damage that only the doctor finds: its check costs more, and the slice works all the same."""


def test_a_host_that_opens_its_ip_stack_to_guests_is_found_and_repaired(pair: Pair) -> None:
    words = {"NUMBER": str(pair.vlan)} | {nic.upper(): pair.tap("one", nic) for nic in ("eth0", "eth1")}
    for happen, _ in OPENED.values():
        happen(pair)
    _, said = cli(pair.lab, "doctor", "--json")
    found = json.loads(said)["findings"]
    assert {finding["code"] for finding in found} == {"stack-open"}
    assert len(found) == len(OPENED)
    steps = {filled(step, words) for _, steps in OPENED.values() for step in steps}
    assert {part.rpartition(" on ")[0] for part in pair.repair()} == steps
    assert codes(pair.lab) == set()
    assert pair.repair() == []


def expect_drift(pair: Pair, happen: Callable[[Pair], None], expected: set[str], steps: set[str]) -> None:
    """Check that doctor and menu report the damage, and that one repair with these steps removes all findings."""
    words = {"NUMBER": str(pair.vlan), "SLICE": str(pair.slice_id)}
    words |= {nic.upper(): pair.tap("one", nic) for nic in ("eth0", "eth1", "eth2")} | {"PEER": pair.tap("two", "eth1")}
    untouched = pair.pid("two")
    happen(pair)
    try:
        assert codes(pair.lab) == expected
        assert [line for line in pair.problems() if line.startswith("do: ")] == ["do: 11 repairs it"]
    except AssertionError:
        pair.repair()  # the next case starts with an undamaged slice
        raise
    repaired = pair.repair()
    assert {part.rpartition(" on ")[0] for part in repaired} == {filled(step, words) for step in steps}
    assert pair.repair() == []
    assert codes(pair.lab) == set()
    assert pair.pid("two") == untouched


def test_a_dead_worker_is_reported_in_time_and_the_rest_is_repaired(pair: Pair, lab: Lab) -> None:
    lab.exec("network", ["iptables", "-D", "INPUT", "-i", "gw_vlan400", *_MARK, "-j", "DROP"])
    lab.cut("worker2")
    try:
        began = time.monotonic()
        problems = pair.problems()
        assert time.monotonic() - began < 8
        assert any("10.0.10.2: does not answer" in line for line in problems)
        assert any("rules of VLAN 400" in line for line in problems)
        with ThreadPoolExecutor() as beside:
            doctor = beside.submit(cli, lab, "doctor")
            shown = pair.menu.choose(11, pair.slice_id)
        assert doctor.result()[0] == 2
        assert "Error: 10.0.10.2 does not answer" in shown
        assert "brought back: internet on VLAN 400 on 10.0.10.3; what runs was left alone" in shown
    finally:
        lab.reconnect("worker2")
    assert pair.repair() == []


@pytest.mark.parametrize(
    ("do", "undo"),
    [
        ("mv $1 .away", "mv .away $1"),
        ("touch -r $1 .away && touch -d 2001-01-01 $1", "touch -r .away $1 && rm .away"),
    ],
    ids=["gone", "another"],
)
def test_a_replaced_base_image_under_disks_is_reported(pair: Pair, lab: Lab, do: str, undo: str) -> None:
    def change(how: str) -> None:
        lab.exec("worker1", ["sh", "-c", f"cd {IMAGES} && {how}", "sh", pair.image])

    change(do)
    try:
        assert codes(lab) == {"image-changed"}
        assert "11 repairs it" not in "".join(pair.problems())
    finally:
        change(undo)
    assert codes(lab) == set()


_MARK = ("-m", "comment", "--comment", "cloud-repositorio")


# --- orphans and foreign objects --------------------------------------------------------------------------------------


@contextmanager
def foreign_objects(lab: Lab) -> Iterator[dict[str, str]]:
    """Create foreign objects on the same hosts, named much like ours; yield processes by host."""
    namespace = "ns-dhcp-vlan4000"
    port = [
        "add-port",
        "br-int",
        "tap_99999_eth1",
        "tag=4000",
        "--",
        "set",
        "Interface",
        "tap_99999_eth1",
        "type=internal",
    ]
    notes = f"{IMAGES}/slice-99998/notes.txt"
    beside = f"{IMAGES}/slice-99997/mine.log"
    with ExitStack() as stack:
        for host, argv, back in (
            ("network", ["ip", "netns", "add", namespace], ["ip", "netns", "del", namespace]),
            ("network", ["iptables", "-A", "FORWARD", "-i", "ens9", "-j", "ACCEPT"],
             ["iptables", "-D", "FORWARD", "-i", "ens9", "-j", "ACCEPT"]),
            ("worker1", ["ovs-vsctl", *port], ["ovs-vsctl", "del-port", "tap_99999_eth1"]),
            ("worker1", ["ip", "tuntap", "add", "mode", "tap", "name", "tap_99999_eth0"],
             ["ip", "link", "del", "tap_99999_eth0"]),
            ("worker1", ["install", "-D", "-o", "ubuntu", "/dev/null", notes], ["rm", "-r", f"{IMAGES}/slice-99998"]),
            ("worker1", ["install", "-D", "-o", "ubuntu", "/dev/null", beside], ["rm", "-r", f"{IMAGES}/slice-99997"]),
        ):  # fmt: skip
            lab.exec(host, argv)
            stack.callback(lab.exec, host, back)
        machine = ["qemu-system-x86_64", "-name", "slice99999-vm99999", "-S", "-display", "none", "-m", "16"]
        qemu = stack.enter_context(foreign_process(lab, "worker1", *machine, "-accel", "tcg", "-nodefaults"))
        server = ["dnsmasq", "-k", "--port=0", "--conf-file=/dev/null", "--pid-file=/run/mine.pid"]
        dnsmasq = stack.enter_context(foreign_process(lab, "network", *server))
        yield {"worker1": qemu, "network": dnsmasq}


ORPHANS = ("process", "port", "tap", "queue", "table", "flows", "overlay", "namespace", "internet")


def test_orphans_are_found_and_removed_and_foreign_objects_survive(lab: Lab, pair: Pair, home: Path) -> None:
    """Let the file forget a slice, as after an older version was put back."""
    older = home / "older.yaml"
    shutil.copy(lab.database, older)
    shutil.chown(older, *_owner(lab.database))
    with foreign_objects(lab) as processes:
        before = traces(lab)
        lost = Pair(lab, pair.menu, "lost")
        expected = {f"orphan-{kind}" for kind in ORPHANS}
        server = lab.exec("network", ["cat", "/run/ns-dhcp-vlan400/pid"]).stdout
        assert codes(lab, database=older) == expected | {"stray-process"}
        assert codes(lab) == {"stray-process"}
        status, said = cli(lab, "doctor", "--fix", "--yes", "--json", database=older)
        reported = json.loads(said)
        assert status == 1
        assert {finding["code"] for finding in reported["findings"]} == {"stray-process"}
        assert not reported["not_removed"]
        assert any(f"QEMU slice{lost.slice_id}-vm" in sentence for sentence in reported["removed"])
        assert traces(lab) == before
        # dnsmasq keeps its reservations and leases in memory, so only a new process has forgotten the slice.
        assert lab.exec("network", ["cat", "/run/ns-dhcp-vlan400/pid"]).stdout != server
        for host, pid in processes.items():
            assert lab.exec(host, ["test", "-d", f"/proc/{pid}"], check=False).returncode == 0
        assert pair.problems() == []
        pair.menu.delete(lost.slice_id)
        assert traces(lab) == before


def test_nothing_is_removed_of_a_slice_under_change(lab: Lab, pair: Pair) -> None:
    """Deploy the slice while the doctor removes orphans."""
    slice_id = design(pair.menu, "busy")
    pair.menu.type("6", str(slice_id))
    pair.menu.read("[prepare]")
    status, said = cli(lab, "doctor", "--fix", "--yes", "--json")
    assert json.loads(said)["removed"] == []
    assert "Slice deployed successfully" in pair.menu.read()
    assert status in (0, 1)
    assert codes(lab) == set()
    pair.menu.delete(slice_id)


def _owner(path: Path) -> tuple[str, str]:
    return path.owner(), path.group()

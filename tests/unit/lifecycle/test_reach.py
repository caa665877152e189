"""Connections with ports of VMs, and packets: the way to each, the owner's right, sentences, and the audit log."""

from __future__ import annotations

import pytest

from core.captures import CaptureRequest
from core.results import Result
from core.status import VMStatus
from models import ADMIN
from network.ovs import OWNER
from remote.capture import CaptureStream
from remote.port import PortStream
from tests.support.acts import read_log
from tests.support.desk import NETWORK, ConsoleHost, Desk


@pytest.fixture
def running(desk: Desk) -> Desk:
    """Return a running slice: vm0 to vm2 have links, vm0 and vm1 internet access, and vm3 has neither."""
    ok = desk.ok
    slice_id = ok(desk.api.create_slice("student", "lab")).slice_id
    ids = [
        ok(desk.api.add_vm_to_slice("student", slice_id, f"vm{number}", "cirros", 2, number < 2)).vm_id
        for number in range(4)
    ]
    ok(desk.api.create_link("student", slice_id, ids[0], "eth1", ids[1], "eth1"))
    ok(desk.api.create_link("student", slice_id, ids[1], "eth2", ids[2], "eth2"))
    ok(desk.api.deploy_slice("student", slice_id))
    return desk


def node(desk: Desk) -> ConsoleHost:
    host = desk.cloud.hosts[NETWORK]
    assert isinstance(host, ConsoleHost)
    return host


ANSWERS = (
    "INPUT -d 10.60.7.1/32 -i gw_vlan400 -p tcp -m conntrack --ctstate ESTABLISHED --ctdir REPLY -m comment --comment "
    "cloud-repositorio -j ACCEPT"
)


def test_a_vm_with_internet_access_is_reached_from_the_network_node(running: Desk) -> None:
    stream = running.ok(running.api.reach.connect("student", 1000, 1001, 22))
    assert isinstance(stream, PortStream)
    assert stream.recv(100) == b"SSH-2.0-guest\n"
    (words,) = node(running).joined
    assert words[1:] == ["", "10.60.7.101", "22", "5", "1800", "15", *ANSWERS.split()]


def test_another_vm_is_reached_from_its_slices_router(running: Desk) -> None:
    running.ok(running.api.reach.connect("student", 1000, 1003, 8080))
    (words,) = node(running).joined
    assert words[1:] == ["ns-gw-slice1000", "192.168.101.11", "8080", "5", "1800", "15"]


def test_a_link_without_a_gateway_is_no_way(running: Desk) -> None:
    with running.database.transaction() as state:
        for network in state.slices[1000].networks:
            network.gateway_ip = None
    sentence = running.no(running.api.reach.connect("student", 1000, 1003, 22))
    assert sentence.startswith("VM 1003 (vm2) has no address that leads outside")


def test_a_vm_without_a_way_has_its_console(running: Desk) -> None:
    assert running.no(running.api.reach.connect("student", 1000, 1004, 22)) == (
        "VM 1004 (vm3) has no address that leads outside: give it internet access or a link, or use its console: "
        "console 1000 vm3"
    )
    assert not node(running).joined


@pytest.mark.parametrize(
    ("answer", "complaint", "sentence"),
    [
        ("socat", "", "10.0.10.3: connection with VM 1001 (vm0): socat is not installed (apt-get install socat)"),
        ("rule", "", "the firewall has no rule for answers of VMs; repair slice 1000, which adds it"),
        ("namespace", "", "the slice's router is gone; repair slice 1000, which adds it"),
        ("ready ", "E connect(5, AF=2 10.60.7.101:22, 16): Connection refused\n", "refuses connections to port 22"),
        ("ready ", "E connect(5, AF=2 10.60.7.101:22, 16): Connection timed out\n", "does not answer at 10.60.7.101"),
        ("ready ", "E connect(5, AF=2 10.60.7.101:22, 16): No route to host\n", "is it still booting?"),
        ("unheard", "", "10.0.10.3 gives an invalid answer: the connection could not be opened"),
    ],
)
def test_a_connection_that_fails_says_what_to_do(running: Desk, answer: str, complaint: str, sentence: str) -> None:
    node(running).answers, node(running).complaint = [answer], complaint
    assert sentence in running.no(running.api.reach.connect("student", 1000, 1001, 22))


def test_a_vm_that_is_off_is_not_asked_whether_it_boots(running: Desk) -> None:
    """It ended by itself, so it still is `running`. Where its worker does not say so, it may be booting."""
    vm = running.slice().vms[0]
    worker = running.cloud.hosts[vm.worker_ip]
    node(running).complaint = "E connect(5, AF=2 10.60.7.101:22, 16): No route to host\n"
    pid_file = "vm_images/slice-1000/vm0.pid"
    node(running).answers = ["ready "] * 3
    assert "is it still booting?" in running.no(running.api.reach.connect("student", 1000, 1001, 22))
    ended = worker.processes.pop(pid_file)
    assert running.no(running.api.reach.connect("student", 1000, 1001, 22)) == (
        "VM 1001 (vm0) is off; start it: start 1000 vm0"
    )
    worker.processes[pid_file], worker.dead = ended, True
    assert "is it still booting?" in running.no(running.api.reach.connect("student", 1000, 1001, 22))


def test_a_slice_in_design_is_deployed_first(desk: Desk) -> None:
    desk.ring(2)
    assert desk.no(desk.api.reach.connect("student", 1000, 1001, 22)) == (
        "VM 1001 (vm0) is not running; deploy slice 1000 first"
    )


def test_a_console_is_read_along_by_its_log(running: Desk) -> None:
    stream = running.ok(running.api.reach.watch("student", 1000, 1001))
    assert stream.recv(100) == b"the end of the log"
    vm = running.slice().vm(1001)
    assert vm
    host = running.cloud.hosts[vm.worker_ip]
    assert isinstance(host, ConsoleHost)
    folder = "vm_images/slice-1000"
    assert host.opened[-1][4:] == (f"{folder}/vm0.log", f"{folder}/vm0.pid", "slice1000-vm1001", "4096")
    host.answers = ["off", "unheard"]
    assert running.no(running.api.reach.watch("student", 1000, 1001)) == (
        "VM 1001 (vm0) is off; start it: start 1000 vm0"
    )
    assert "gives an invalid answer" in running.no(running.api.reach.watch("student", 1000, 1001))


def test_a_stopped_vm_is_started_first(running: Desk) -> None:
    with running.database.transaction() as state:
        state.slices[1000].vms[0].status = VMStatus.STOPPED
    for act in (running.api.reach.watch("student", 1000, 1001), running.api.reach.connect("student", 1000, 1001, 22)):
        assert running.no(act) == "VM 1001 (vm0) is stopped; start it: start 1000 vm0"


def test_an_admin_reaches_all_and_another_student_none(running: Desk) -> None:
    running.api.accounts.add("mallory", "long enough")
    assert running.no(running.api.reach.connect("mallory", 1000, 1001, 22)).startswith("You have no slice 1000")
    assert not node(running).joined
    with running.database.transaction() as state:
        state.users["admin"].role = ADMIN
    running.ok(running.api.reach.connect("admin", 1000, 1001, 22))


@pytest.mark.on_a_file
def test_connections_are_one_line_per_user_vm_and_hour_with_a_count(running: Desk) -> None:
    running.api.accounts.set_role("admin", ADMIN)
    for port in (22, 22, 80):
        running.ok(running.api.reach.connect("student", 1000, 1001, port))
    running.ok(running.api.reach.connect("student", 1000, 1002, 22))
    running.ok(running.api.reach.connect("admin", 1000, 1001, 22))
    lines = [
        (entry["actor"], entry["slice"], entry["vm"], entry["result"], entry["count"])
        for entry in read_log(running.path)
        if entry["action"] == "connect"
    ]
    assert sorted(lines) == [
        ("admin", 1000, 1001, "ok", 1),
        ("student", 1000, 1001, "ok", 3),
        ("student", 1000, 1002, "ok", 1),
    ]


# --- packets ----------------------------------------------------------------------------------------------------------


def captured(desk: Desk, vm_id: int, nic: str, filter_: str = "", actor: str = "student") -> Result[CaptureStream]:
    return desk.api.reach.capture(actor, 1000, vm_id, CaptureRequest(nic, filter_))


def worker(desk: Desk, vm_id: int) -> ConsoleHost:
    vm = desk.slice().vm(vm_id)
    assert vm
    host = desk.cloud.hosts[vm.worker_ip]
    assert isinstance(host, ConsoleHost)
    return host


def test_packets_are_those_of_the_vms_own_tap(running: Desk) -> None:
    running.ok(captured(running, 1003, "eth2", "icmp or arp"))
    (words,) = worker(running, 1003).joined
    assert words[1:] == [OWNER, "tap_1003_eth2", "pcap", "10000", "600", "256", "5", "icmp or arp"]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("filter tcpdump: syntax error", "tcpdump does not understand the filter: syntax error"),
        ("filter", "tcpdump does not understand the filter: it gives no reason"),
        ("failed unshare: no", "capture at eth2 of VM 1003 (vm2): tcpdump could not be started: unshare: no"),
        ("slow", "tcpdump did not compile the filter within 5 s; write a simpler one"),
        ("busy", "Packets of eth2 of VM 1003 (vm2) are being captured already; end that capture, or try again later"),
        ("off", "No packets pass eth2 of VM 1003 (vm2): the VM is off; start it: start 1000 vm2"),
        ("down", "No packets pass eth2 of VM 1003 (vm2): its TAP is down; repair slice 1000"),
        ("tap", "capture at eth2 of VM 1003 (vm2): the TAP of eth2 is gone; repair slice 1000, which makes it again"),
        ("tcpdump", "of VM 1003 (vm2): tcpdump is not installed (apt-get install tcpdump)"),
        ("unheard", "gives an invalid answer: the capture could not be opened"),
    ],
)
def test_a_capture_that_does_not_begin_says_what_to_do(running: Desk, answer: str, sentence: str) -> None:
    worker(running, 1003).answers = [answer]
    assert sentence in running.no(captured(running, 1003, "eth2"))


def test_what_has_no_packets_is_refused_before_any_host(running: Desk) -> None:
    assert running.no(captured(running, 1004, "eth1")) == (
        "No packets pass eth1 of VM 1004 (vm3): it has no link; link it first"
    )
    assert running.no(captured(running, 1004, "eth9")) == (
        "VM 1004 (vm3) has no eth9; its interfaces: eth0, eth1, eth2"
    )
    assert running.no(captured(running, 1003, "eth2", "-w x")).startswith("A filter has at most 256 printable")
    with running.database.transaction() as state:
        state.slices[1000].vms[2].status = VMStatus.STOPPED
    assert running.no(captured(running, 1003, "eth2")) == "VM 1003 (vm2) is stopped; start it: start 1000 vm2"
    assert not worker(running, 1003).joined


def test_packets_of_others_are_refused(running: Desk) -> None:
    running.api.accounts.add("mallory", "long enough")
    assert running.no(captured(running, 1003, "eth2", actor="mallory")).startswith("You have no slice 1000")
    assert not worker(running, 1003).joined
    running.api.accounts.set_role("mallory", ADMIN)
    running.ok(captured(running, 1003, "eth2", actor="mallory"))


@pytest.mark.on_a_file
def test_a_capture_is_one_line_with_vm_and_interface(running: Desk) -> None:
    running.ok(captured(running, 1003, "eth2", "icmp"))
    running.no(captured(running, 1004, "eth2"))
    lines = [
        (entry["slice"], entry["vm"], entry["result"])
        for entry in read_log(running.path)
        if entry["action"] == "capture"
    ]
    assert lines == [
        (1000, 1003, "ok: eth2, icmp"),
        (1000, 1004, "No packets pass eth2 of VM 1004 (vm3): it has no link; link it first"),
    ]

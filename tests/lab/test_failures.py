"""Faults in each stage of a deployment: one clear sentence, the slice back in design, and the hosts as before."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, paths
from remote.batch import IDLE_SECONDS
from tests.support.lab.visitor import (
    IMAGES,
    Menu,
    age_measurements,
    empty_database,
    shells,
    traces,
    unmount,
    wait_until,
)
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab


Fault = Callable[[Lab], AbstractContextManager[None]]


def design(menu: Menu, name: str) -> int:
    """Create two linked VMs with internet and a spare NIC, one on each worker; return the slice's id."""
    slice_id = menu.create_slice(name)
    one, two = (menu.add_vm(slice_id, vm, 2, internet=True) for vm in ("one", "two"))
    menu.link(slice_id, one, "eth1", two, "eth1")
    return slice_id


@pytest.fixture(scope="module")
def session(lab: Lab) -> Iterator[Menu]:
    """One session that has to live through all the faults."""
    menu = Menu(lab)
    yield menu
    menu.close()


@pytest.fixture(scope="module")
def pair(session: Menu) -> Iterator[int]:
    """Create a slice in design for all faults."""
    slice_id = design(session, "faults")
    yield slice_id
    session.delete(slice_id)


@contextmanager
def replaced(lab: Lab, host: str, program: str, script: str | None) -> Iterator[None]:
    """Replace `program` by a script of ours for a while, or remove it."""
    lab.exec(host, ["mv", program, f"{program}.real"])
    try:
        if script is not None:
            lab.exec(host, ["sh", "-c", 'printf "#!/bin/sh\n%s\n" "$1" >"$2"; chmod 755 "$2"', "sh", script, program])
        yield
    finally:
        lab.exec(host, ["mv", f"{program}.real", program])


def broken(host: str, program: str, script: str | None = None) -> Fault:
    return lambda lab: replaced(lab, host, program, script)


def full_disk(host: str) -> Fault:
    """Put the folder of images on a disk with hardly any room."""

    @contextmanager
    def fault(lab: Lab) -> Iterator[None]:
        size = f"size={(lab.image.stat().st_size >> 20) + 2}m"
        lab.exec(host, ["sh", "-c", f"mount --bind {IMAGES} /mnt && mount -t tmpfs -o {size},mode=755 tmpfs {IMAGES}"])
        try:
            lab.exec(host, ["sh", "-c", f"chown ubuntu: {IMAGES} && cp -a /mnt/. {IMAGES}/"])
            yield
        finally:
            unmount(lab, host, IMAGES)
            unmount(lab, host, "/mnt")

    return fault


@contextmanager
def no_bridge(lab: Lab) -> Iterator[None]:
    lab.exec("worker1", ["ovs-vsctl", "del-br", "br-int"])
    try:
        yield
    finally:
        bridge = ["add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev"]
        lab.exec("worker1", ["ovs-vsctl", *bridge, "--", "add-port", "br-int", "ens4"])


@contextmanager
def foreign_process(lab: Lab, host: str, *argv: str) -> Iterator[str]:
    """Run a foreign process on `host` for a while; yield its pid there.

    The process that starts it is only its way in.
    """
    way_in = lab.popen_in(host, ["bash", "-c", 'echo $$; exec "$@"', "bash", *argv], stdout=subprocess.PIPE, text=True)
    assert way_in.stdout
    pid = way_in.stdout.readline().strip()
    try:
        yield pid
    finally:
        lab.exec(host, ["kill", pid])
        way_in.communicate(timeout=10)


@contextmanager
def listener(lab: Lab, host: str, port: int) -> Iterator[None]:
    """Listen on `host` with a foreign program."""
    with foreign_process(lab, host, "socat", f"TCP-LISTEN:{port},fork,reuseaddr", "EXEC:true"):
        wait_until(lambda: f":{port} " in lab.exec(host, ["ss", "-Hltn"]).stdout, "the foreign program", 10)
        yield


@contextmanager
def cut_off(lab: Lab) -> Iterator[None]:
    lab.cut("worker2")
    try:
        yield
    finally:
        lab.reconnect("worker2")


@contextmanager
def shell(lab: Lab, host: str, breaks: str, mends: str) -> Iterator[None]:
    lab.exec(host, ["sh", "-c", breaks])
    try:
        yield
    finally:
        lab.exec(host, ["sh", "-c", mends])


def done_by(host: str, breaks: str, mends: str) -> Fault:
    """Return a fault that one shell script causes and another one repairs."""
    return lambda lab: shell(lab, host, breaks, mends)


@contextmanager
def without_right(lab: Lab) -> Iterator[None]:
    """Take the user's right to become root; the waiting shell is root already, and ends in a while."""
    with shell(lab, "worker2", "mv /etc/sudoers.d/* /var/tmp/", "mv /var/tmp/* /etc/sudoers.d/; rm -r /run/sudo"):
        wait_until(lambda: not shells(lab, "worker2").waiting, "the end of a shell that waits", IDLE_SECONDS + 5)
        yield


def mounted(host: str, how: str, path: str) -> Fault:
    """Mount a filesystem on `path` for a while."""

    @contextmanager
    def fault(lab: Lab) -> Iterator[None]:
        lab.exec(host, ["sh", "-c", how])
        try:
            yield
        finally:
            unmount(lab, host, path)

    return fault


def stopped(host: str, daemon: str) -> Fault:
    """Stop a daemon of Open vSwitch without ending it."""
    pid = f"$(cat /run/openvswitch/{daemon}.pid)"
    return done_by(host, f"kill -STOP {pid}", f"kill -CONT {pid}")


def changed(name: str, how: str) -> Fault:
    """Change a file below the folder of images on worker1 for a while; `how` has its name as `$1`."""
    there = f"set -- {IMAGES}/{name}; cp -a $1 /var/tmp/kept; "
    return done_by("worker1", there + how, f"mv -f /var/tmp/kept $(echo {IMAGES}/{name})")


QEMU, DNSMASQ, VSCTL = "/usr/bin/qemu-system-x86_64", "/usr/sbin/dnsmasq", "/usr/bin/ovs-vsctl"
NO_PORTS = 'case "$*" in *add-port*) echo ovs-vsctl: database is read-only >&2; exit 1;; esac; exec ovs-vsctl.real "$@"'
NO_NAT = "echo iptables-restore: unable to initialize table nat >&2; exit 3"
NO_FORWARDING = "echo sysctl: permission denied on key net.ipv4.ip_forward >&2; exit 255"
READ_ONLY = f"mount --bind {IMAGES} {IMAGES} && mount -o remount,ro,bind {IMAGES}"
READ_ONLY_HOME = "mount --bind /home/ubuntu /home/ubuntu && mount -o remount,ro,bind /home/ubuntu"
FULL_RUN = "mount -o remount,size=1m /run; dd if=/dev/zero of=/run/full bs=4k 2>/dev/null; :"
NO_FILES_IN_RUN = "mount -o remount,nr_inodes=400 /run; seq -f /run/full.%g 400 | xargs touch 2>/dev/null; :"
XTABLES = "/usr/lib/*/xtables"
ROOM_IN_RUN = "rm /run/full*; mount -o remount,size=50%,nr_inodes=1m /run"
FAULTS: dict[str, tuple[Fault, str]] = {
    "preflight: dnsmasq is not installed": (
        broken("network", DNSMASQ),
        "10.0.10.3: programs: not installed: dnsmasq (docs/install-hosts.md lists the packages); nothing was changed",
    ),
    "preflight: a full disk": (full_disk("worker1"), "10.0.10.1: room for the VMs: the disk is full"),
    "preflight: a read-only disk": (
        mounted("worker1", READ_ONLY, IMAGES),
        "10.0.10.1: room for the VMs: vm_images cannot be written; is its disk mounted read-only",
    ),
    "preflight: a read-only home": (
        mounted("worker1", READ_ONLY_HOME, "/home/ubuntu"),
        "10.0.10.1: room for the VMs: vm_images cannot be written; is its disk mounted read-only",
    ),
    "preflight: no more files in /run": (
        done_by("worker1", NO_FILES_IN_RUN, ROOM_IN_RUN),
        "10.0.10.1: busy: /run/cloud-repositorio-slice-*.lock cannot be made; is /run full?; nothing was changed",
    ),
    "preflight: /run is full": (
        done_by("network", FULL_RUN, ROOM_IN_RUN),
        "10.0.10.3: room in /run: /run is full; see what fills it",
    ),
    "preflight: iptables lacks a match": (
        done_by("network", f"mv {XTABLES}/libxt_u32.so /var/tmp/", f"mv /var/tmp/libxt_u32.so {XTABLES}/"),
        "10.0.10.3: matches of iptables: iptables cannot do what keeps guests apart; install its extensions",
    ),
    "preflight: no bridge": (no_bridge, "10.0.10.1: bridge br-int: Open vSwitch has no bridge br-int"),
    "preflight: ovs-vswitchd does nothing": (
        stopped("worker1", "ovs-vswitchd"),
        "10.0.10.1: bridge br-int: ovs-vswitchd does not answer; start it with",
    ),
    "preflight: ovsdb-server does nothing": (
        stopped("network", "ovsdb-server"),
        "10.0.10.3: bridge br-int: Open vSwitch does not answer; start it with",
    ),
    "preflight: a base image that was cut off": (
        changed("lab-guest-*.qcow2", "truncate -s -100K $1"),
        "10.0.10.1: disks on lab-guest-",
    ),
    "preflight: a base image that is another one": (
        changed("lab-guest-*.qcow2", "touch $1"),
        "10.0.10.1: disks on lab-guest-",
    ),
    "preflight: an overlay that is damaged": (
        changed("slice-*/one_img.qcow2", "echo junk >$1"),
        "10.0.10.1: disks on lab-guest-",
    ),
    "preflight: sudo refuses": (
        without_right,
        "10.0.10.2: sudo -n sh -s: sudo refuses: sudo: a password is required; it has to let ubuntu run /usr/bin/sh -s",
    ),
    "preflight: a host that does not answer": (cut_off, "10.0.10.2 does not answer"),
    "launch: dnsmasq does not start": (
        broken("network", DNSMASQ, "echo dnsmasq: out of luck >&2; exit 2"),
        "10.0.10.3: DHCP of the VLANs: ns-dhcp-vlan*: dnsmasq: out of luck",
    ),
    "launch: no kernel module for NAT": (
        broken("network", "/usr/sbin/iptables-restore", NO_NAT),
        "10.0.10.3: internet on VLAN 400: iptables-restore: unable to initialize table nat",
    ),
    "launch: forwarding cannot be switched on": (
        broken("network", "/usr/sbin/sysctl", NO_FORWARDING),
        "10.0.10.3: gateways of the VLANs: ns-gw-slice*: sysctl: permission denied",
    ),
    "launch: no port can be added": (
        broken("worker2", VSCTL, NO_PORTS),
        "10.0.10.2: ports of the TAPs: ovs-vsctl: data",
    ),
    "launch: no more processes": (
        broken("worker1", "/usr/bin/setsid", "echo setsid: fork: Resource temporarily unavailable >&2; exit 1"),
        "10.0.10.1: QEMU: setsid: fork: Resource temporarily unavailable",
    ),
    "launch: the user's limit of processes": (
        broken("worker1", "/usr/bin/setsid", 'exec prlimit --nproc=1 setsid.real "$@"'),
        "10.0.10.1: QEMU: sh: *: Cannot fork",
    ),
    "verify: the limit of processes is reached by QEMU": (
        broken("worker1", QEMU, 'exec prlimit --nproc=1 qemu-system-x86_64.real "$@"'),
        "10.0.10.1: start of the guests: one ended at once: qemu: qemu_thread_create: Resource temporarily unavailable",
    ),
    "verify: QEMU ends at once": (
        broken("worker1", QEMU, "echo qemu: cannot set up guest memory >&2; exit 1"),
        "10.0.10.1: start of the guests: one ended at once: qemu: cannot set up guest memory",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_one_sentence_and_leaves_the_hosts_as_they_were(
    lab: Lab, session: Menu, pair: int, fault: str
) -> None:
    inject, sentence = FAULTS[fault]
    before = traces(lab)
    with inject(lab):
        shown = session.choose(6, pair)
    (error,) = [line for line in shown.splitlines() if line.startswith("Error: ")]
    assert re.match(r"\w+".join(map(re.escape, f"Error: {sentence}".split("*"))), error), error
    assert error.endswith("the slice is in design")
    assert traces(lab) == before
    assert f"Slice {pair}: faults, design" in session.choose(5)


_NO_CHAINS = "for table in filter nat mangle; do nft delete table ip $table; done 2>/dev/null; sysctl -q -w {}=0"
_CHAINS = "nft list chains ip; nft list ruleset ip | grep -c comment; sysctl {}"


def test_a_rollback_leaves_on_the_network_node_what_the_documentation_says(lab: Lab, session: Menu, pair: int) -> None:
    setting = "net.ipv4.ip_forward"
    inject, _ = FAULTS["verify: QEMU ends at once"]
    lab.exec("network", ["sh", "-c", _NO_CHAINS.format(setting)])
    with inject(lab):
        assert "the slice is in design" in session.choose(6, pair)
    *chains, rules, forwarding = lab.exec("network", ["sh", "-c", _CHAINS.format(setting)]).stdout.splitlines()
    found = re.findall(r"table (ip \w+) \{|chain (\w+) \{", "\n".join(chains))
    left, table = {forwarding}, ""
    for name, chain in found:
        table = name or table
        left |= {f"{table} {chain}"} if chain else set()
    stays = (ROOT / "docs/operations.md").read_text().partition("\n## What stays on the hosts\n")[2]
    (said,) = re.findall(r"- A rollback leaves (.*?)\n- ", stays, re.DOTALL)
    assert rules == "0"
    assert left == {*re.findall(r"`((?:net|ip)[ .].+?)`", said)}


def test_a_foreign_program_on_a_vnc_port_costs_a_vm_its_number_only(lab: Lab, session: Menu, pair: int) -> None:
    """Check a deployment and a repair: the new number is stored and reported."""
    before = traces(lab)
    slice_id = session.create_slice("ports")
    port = int(re.findall(r"VNC: (\d+)", session.choose(3, slice_id, "one", 1, 1, "n"))[0])
    host = session.topology(slice_id)["one"].worker
    with listener(lab, host, port), listener(lab, host, port + 1):
        shown = session.deploy(slice_id)
        assert f"Note: the VNC port of one is {port + 2} now: another program on " in shown
        assert f":{port + 2} password " in shown
    pid_file = f"{IMAGES}/slice-{slice_id}/one.pid"
    lab.exec(host, ["sh", "-c", 'kill "$(cat "$1")"', "sh", pid_file])
    wait_until(lambda: f":{port + 2} " not in lab.exec(host, ["ss", "-Hltn"]).stdout, "the end of QEMU", 10)
    with listener(lab, host, port + 2):
        shown = session.choose(11, slice_id)
        assert f"Note: the VNC port of one is {port} now: another program on " in shown
        assert "Slice repaired" in shown
    assert f":{port} password " in session.topology(slice_id)["one"].text
    session.delete(slice_id)
    assert traces(lab) == before
    assert pair


def test_differing_clocks_are_reported_and_deploying_works(lab: Lab, pair: int) -> None:
    """Change a worker's clock for the login, and all clocks for the doctor.

    The network node's home is read-only as well, because it needs none.
    """
    date = 'exec date.real --date={} "$@"'
    with (
        replaced(lab, "worker1", "/usr/bin/date", date.format("+2hours")),
        replaced(lab, "network", "/usr/bin/date", date.format("-1hour")),
        mounted("network", READ_ONLY_HOME, "/home/ubuntu")(lab),
    ):
        age_measurements(lab.database)
        menu = Menu(lab)
        assert re.search(r"Warning: worker 10\.0\.10\.1: its clock is 7\d+ s ahead of the manager's", menu.greeting)
        doctor = [sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database), "doctor", "--json"]
        found = json.loads(lab.run(doctor, check=False).stdout)["findings"]
        apart = {f["host"]: f["sentence"] for f in found if f["code"] == "clock-skew"}
        assert sorted(apart) == ["10.0.10.1", "10.0.10.3"]
        assert re.search(r"its clock is \+7\d+ s", apart["10.0.10.1"])
        assert re.search(r"its clock is -3\d+ s", apart["10.0.10.3"])
        before = traces(lab)
        slice_id = design(menu, "late")
        menu.deploy(slice_id)
        menu.delete(slice_id)
        assert traces(lab) == before
        assert menu.close() == 0
    assert pair


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("cut", "is not a whole qcow2 image; replace it"), ("raw", "cli.py image add"), ("", "cannot be")],
)
def test_an_image_that_is_bad_on_the_manager(lab: Lab, home: Path, pair: int, content: str, sentence: str) -> None:
    """Refuse the image before it reaches a worker's cache."""
    assert pair  # the workers have its images already
    image = home / f"{content or 'none'}.qcow2"
    if content == "raw":
        image.write_bytes(bytes(1 << 20))
    if content == "cut":
        image.write_bytes(lab.image.read_bytes()[:-100_000])
    if image.exists():
        paths.caller().own(image)

    def with_image(record: dict[str, Any]) -> None:
        record["flavors"]["cirros"]["image"], record["next_vm_id"] = str(image), 3000

    database = empty_database(lab, image.with_suffix(".yaml"), with_image)
    before = traces(lab)
    menu = Menu(lab, "admin", database)
    slice_id = menu.create_slice("bad")
    shown = menu.choose(3, slice_id, "one", 1, 1, "n")
    assert sentence in shown
    assert str(image) in shown
    assert "nothing was added" in shown
    assert traces(lab) == before
    menu.delete(slice_id)
    assert menu.close() == 0


def test_deleting_restores_every_host_to_what_it_was(lab: Lab, menu: Menu, pair: int) -> None:
    """Delete a slice whose base image is in the workers' caches, where it is meant to stay."""
    before = traces(lab)
    one, two = design(menu, "one"), design(menu, "two")
    only_one = _deployed(lab, menu, one)
    assert only_one != before
    menu.deploy(two)
    menu.delete(two)
    assert traces(lab) == {host: _without(text, f"slice-{two}") for host, text in only_one.items()}
    menu.delete(one)
    assert traces(lab) == before
    assert f"Slice {pair}: faults, design" in menu.choose(5)


def test_a_disk_that_fills_while_a_vm_is_added(lab: Lab, menu: Menu) -> None:
    slice_id = menu.create_slice("nodisk")
    before = traces(lab)
    for host in ("worker1", "worker2"):
        lab.exec(host, ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", IMAGES])
    try:
        shown = menu.choose(3, slice_id, "big", 1, 1, "n")
        assert "is the disk full?" in shown
        assert "nothing was added" in shown
        assert not lab.exec("worker1", ["ls", "-A", IMAGES]).stdout
        assert not lab.exec("worker2", ["ls", "-A", IMAGES]).stdout
    finally:
        for host in ("worker1", "worker2"):
            unmount(lab, host, IMAGES)
    assert traces(lab) == before
    menu.delete(slice_id)


def test_a_worker_that_is_down_is_named_gets_no_vms_and_the_menu_opens(lab: Lab) -> None:
    """Log in within a minute, without connections; later one session measures for all."""
    age_measurements(lab.database)
    Menu(lab).close()
    with cut_off(lab):
        menu = Menu(lab)
        assert "Warning" not in menu.greeting
        menu.close()
        age_measurements(lab.database)
        menu = Menu(lab)
        assert "Warning: worker 10.0.10.2 does not answer; it gets no VMs" in menu.greeting
        slice_id = menu.create_slice("alone")
        for name in ("one", "two"):
            menu.add_vm(slice_id, name, 0)
        assert {vm.worker for vm in menu.topology(slice_id).values()} == {"worker1"}
        menu.delete(slice_id)
        menu.close()
    age_measurements(lab.database)


def test_foreign_objects_on_the_hosts_survive(lab: Lab, menu: Menu) -> None:
    """Create a namespace, a port, a rule, a file and processes with names much like ours."""
    lab.exec("network", ["ip", "netns", "add", "ns-dhcp-vlan4000"])
    lab.exec("network", ["iptables", "-A", "FORWARD", "-i", "ens9", "-j", "ACCEPT"])
    port = ["add-port", "br-int", "gw_vlan4000", "tag=4000", "--", "set", "Interface", "gw_vlan4000", "type=internal"]
    lab.exec("network", ["ovs-vsctl", *port])
    slice_id = menu.create_slice("guarded")
    notes = f"{IMAGES}/slice-{slice_id}/notes.txt"
    try:
        with foreign_process(lab, "worker1", "bash", "-c", "exec -a qemu-system-x86_64 sleep 600") as pid:
            before = traces(lab)
            for name in ("vm1", "vm10"):
                menu.add_vm(slice_id, name, 1, internet=True)
            lab.exec("worker1", ["install", "-o", "ubuntu", "/dev/null", notes])
            menu.deploy(slice_id)
            menu.delete(slice_id)
            assert lab.exec("worker1", ["rm", "-v", notes, "-d", notes.rpartition("/")[0]]).stdout.count("removed") == 2
            assert traces(lab) == before
            assert lab.exec("worker1", ["cat", f"/proc/{pid}/comm"]).stdout == "sleep\n"
    finally:
        lab.exec("network", ["ovs-vsctl", "del-port", "gw_vlan4000"])
        lab.exec("network", ["iptables", "-D", "FORWARD", "-i", "ens9", "-j", "ACCEPT"])
        lab.exec("network", ["ip", "netns", "del", "ns-dhcp-vlan4000"])


def _deployed(lab: Lab, menu: Menu, slice_id: int) -> dict[str, str]:
    menu.deploy(slice_id)
    return traces(lab)


def _without(text: str, part: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if part not in line)

"""The lab alone: its hosts fulfil the assumptions of the product's tests, and it leaves no trace."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from lab import GuestConsole, Lab, LabError, accounts, paths, topology
from lab.errors import wait_until

# The machine's view is recorded before the first lab starts.
pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("machine_before")]

NAME = "selftest"
GUEST = "/home/ubuntu/vm_images"


def machine_view() -> str:
    """Return a user's view of the machine's network and mounts."""
    commands = (["ip", "-o", "link"], ["ip", "netns"], ["ip", "route", "show", "table", "all"], ["mount"])
    return "".join(subprocess.run(argv, capture_output=True, text=True, check=True).stdout for argv in commands)


@contextlib.contextmanager
def watched(pids: Iterable[int | None]) -> Iterator[Callable[[], list[str]]]:
    """Yield the command lines of all processes in these network namespaces, also after their end.

    An open namespace keeps its number, which a new one would get otherwise.
    """
    held = [os.open(f"/proc/{pid}/ns/net", os.O_RDONLY) for pid in pids]
    try:
        yield partial(_processes_in, {os.fstat(namespace).st_ino for namespace in held})
    finally:
        for namespace in held:
            os.close(namespace)


def _processes_in(namespaces: Collection[int]) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").stat().st_ino in namespaces:
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended since
            continue
    return found


def pids(lab: Lab) -> dict[str, int | None]:
    return {part.name: part.pid for part in lab.status()}


def is_up(lab: Lab) -> bool:
    return all(part.ready for part in lab.status())


def ssh(lab: Lab, address: str, command: str, text: str | None = None) -> str:
    options = ["-i", str(lab.key_file), "-o", f"UserKnownHostsFile={lab.files.known_hosts}", "-o", "BatchMode=yes"]
    options += ["-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=5"]
    return lab.run(["ssh", *options, f"ubuntu@{address}", command], input=text).stdout


def answers_ssh(lab: Lab, address: str) -> bool:
    connect = f"import socket; socket.create_connection(({address!r}, 22), timeout=1)"
    return lab.run([sys.executable, "-c", connect], check=False).returncode == 0


def add_tagged_port(lab: Lab, host: str, name: str, tag: int, address: str) -> None:
    """Add an internal port of br-int with this tag, in its own network namespace on that host."""
    lab.exec(host, ["ip", "netns", "add", name])
    port = ["--may-exist", "add-port", "br-int", name, f"tag={tag}", "--", "set", "Interface", name, "type=internal"]
    lab.exec(host, ["ovs-vsctl", *port])
    lab.exec(host, ["ip", "link", "set", name, "netns", name])
    inside = f"link set lo up\naddress add {address}/24 dev {name}\nlink set {name} up\n"
    lab.exec(host, ["ip", "netns", "exec", name, "ip", "-batch", "-"], input=inside)


def pings(lab: Lab, host: str, namespace: str, address: str) -> bool:
    argv = ["ip", "netns", "exec", namespace, "busybox", "ping", "-c", "2", "-W", "1", address]
    return lab.exec(host, argv, check=False).returncode == 0


@pytest.fixture(scope="module")
def machine_before() -> str:
    return machine_view()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab(NAME)
    lab.down()
    lab.up()
    yield lab
    lab.down()


@pytest.fixture
def running(lab: Lab) -> Lab:
    """Start every part of the lab, in any state that the last test left."""
    lab.up()
    return lab


# Tests without a host


def test_workers_keep_clear_of_the_network_nodes_address() -> None:
    addresses = [host.address for host in topology.hosts(topology.MAX_WORKERS, len(topology.MANAGERS))]
    assert addresses[:4] == ["10.0.10.1", "10.0.10.2", "10.0.10.4", "10.0.10.5"]
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize(("managers", "more"), [(1, []), (2, ["manager2", "database1", "database2"])])
def test_several_managers_bring_databases(managers: int, more: list[str]) -> None:
    assert [host.name for host in topology.hosts(1, managers)] == ["worker1", "network", "internet", "manager", *more]
    assert topology.manager(managers).address == f"10.0.10.{249 + managers}"


def test_port_names_fit_the_kernel() -> None:
    hosts = topology.hosts(topology.MAX_WORKERS, len(topology.MANAGERS))
    assert all(len(topology.switch_port(host.name, bridge)) < 16 for host in hosts for bridge in host.cables.values())


@pytest.mark.parametrize(
    "name", ["worker0", "worker01", "worker201", "workerx", "worker", "manager1", "manager5", "database3", ""]
)
def test_unknown_hosts_are_unknown(name: str) -> None:
    with pytest.raises(KeyError):
        topology.host(name)


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", "-x", "x" * 40])
def test_a_lab_s_name_cannot_lead_out_of_its_folder(name: str) -> None:
    with pytest.raises(LabError, match="a lab's name"):
        paths.lab_folder(name)


def test_accounts_are_the_system_s_without_its_people(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n"
        "ubuntu:x:120:120::/var/x:/bin/sh\noverflow:x:65534:65534::/:/bin/false\n+::::::\n"
    )
    (tmp_path / "group").write_text("root:x:0:\nkvm:x:106:ann\nann:x:1000:\nsudo:x:27:ann,ubuntu\n")
    files = accounts.files("ubuntu", tmp_path)
    assert [line.split(":")[0] for line in files["passwd"].splitlines()] == ["root", "overflow", "ubuntu"]
    assert "kvm:x:106:ubuntu\n" in files["group"]
    assert "sudo:x:27:\n" in files["group"]
    assert {line.split(":")[1] for line in files["shadow"].splitlines()} == {"*"}
    assert accounts.kvm_gid(tmp_path) == 106


# Traces on the machine


@pytest.mark.usefixtures("running")
def test_the_machine_sees_nothing_of_the_lab(machine_before: str) -> None:
    assert machine_view() == machine_before
    assert "10.0.10." not in machine_view()


def test_up_again_changes_nothing(running: Lab) -> None:
    before = pids(running)
    running.database.write_text("# with slices\n" + running.database.read_text())
    key = running.key_file.read_bytes()
    running.up()
    assert pids(running) == before
    assert running.database.read_text().startswith("# with slices")
    assert running.key_file.read_bytes() == key


def test_files_of_the_manager_belong_to_the_caller(running: Lab) -> None:
    caller = paths.caller()
    for path in (running.key_file, running.database):
        facts = path.stat()
        assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (caller.uid, caller.gid, 0o600)
    assert running.folder.stat().st_uid == caller.uid
    assert str(running.image) in running.database.read_text()
    assert hashlib.sha256(b"student").hexdigest() in running.database.read_text()


def test_two_labs_side_by_side(running: Lab) -> None:
    other = Lab(f"{NAME}-2", workers=1)
    try:
        other.up()
        other.exec("worker1", ["touch", "/var/tmp/mine"])
        assert running.exec("worker1", ["ls", "/var/tmp"]).stdout == ""
        assert "host" in ssh(other, "10.0.10.1", "echo host")
    finally:
        other.down()
    assert is_up(running)


# Hosts


@pytest.mark.parametrize("address", ["10.0.10.1", "10.0.10.2", "10.0.10.3"])
def test_ssh_and_sudo_work_without_delay(running: Lab, address: str) -> None:
    started = time.monotonic()
    assert ssh(running, address, "sudo -n sh -s", "id -u\nhostname -I\n").split() == ["0", address]
    assert time.monotonic() - started < 3


def test_ubuntu_may_run_nothing_else_as_root(running: Lab) -> None:
    assert running.exec("worker1", ["sudo", "-n", "id"], user="ubuntu", check=False).returncode == 1
    rules = running.exec("worker1", ["grep", "-r", "", "/etc/sudoers.d"]).stdout
    assert rules == "/etc/sudoers.d/cloud-repositorio:ubuntu ALL=(root) NOPASSWD: /usr/bin/sh -s\n"
    assert running.exec("worker1", ["id", "-un"], user="ubuntu").stdout == "ubuntu\n"


def test_a_host_shows_nothing_that_runs_on_the_machine(running: Lab) -> None:
    homes = {"ubuntu", *paths.ROOT.relative_to("/home").parts[:1]} if paths.ROOT.is_relative_to("/home") else {"ubuntu"}
    assert set(running.exec("worker1", ["ls", "/home"]).stdout.split()) == homes, "what leads to this checkout apart"
    assert running.exec("worker1", ["ls", "/run/lock", "/tmp", "/var/tmp"]).stdout.split() == [
        *("/run/lock:", "/tmp:", "/var/tmp:")
    ]
    assert running.exec("worker1", ["ls", str(paths.ROOT)], check=False).stdout == ""
    mounts = [line.split()[1] for line in running.exec("worker1", ["cat", "/proc/mounts"]).stdout.splitlines()]
    assert mounts == ["/", "/proc", "/sys", "/run", "/tmp", "/dev", "/dev/pts", "/dev/shm"]
    assert running.exec("worker1", ["ls", "/sys/class/net"]).stdout.split() == [
        *("br-int", "ens3", "ens4", "lo", "ovs-netdev")
    ]


def test_orphans_are_reaped(running: Lab) -> None:
    running.exec("worker1", ["sh", "-c", "for i in 1 2 3; do setsid sh -c 'sleep 0.05' & done"])

    def left() -> list[str]:
        lines = running.exec("worker1", ["ps", "-eo", "stat,comm"]).stdout.splitlines()
        return [line for line in lines if line.startswith("Z") or line.endswith(" sleep")]

    wait_until(lambda: not left(), 20, "the orphans end and are reaped")


def test_a_daemon_that_died_is_started_again(running: Lab) -> None:
    running.exec("worker2", ["sh", "-c", "kill -9 $(cat /run/openvswitch/ovs-vswitchd.pid)"])
    running.exec("worker2", ["ovs-vsctl", "--timeout=10", "set", "Bridge", "br-int", "external_ids:seen=again"])


def test_the_bridge_is_in_user_space_and_has_the_trunk(running: Lab) -> None:
    for host in ("worker1", "worker2", "network"):
        assert running.exec(host, ["ovs-vsctl", "list-ports", "br-int"]).stdout.split() == ["ens4"]
        assert running.exec(host, ["ovs-vsctl", "get", "Bridge", "br-int", "datapath_type"]).stdout == "netdev\n"
        assert running.exec(host, ["ovs-vsctl", "get", "Port", "ens4", "tag"]).stdout == "[]\n"


def test_only_the_network_node_has_a_way_out(running: Lab) -> None:
    assert running.exec("network", ["getent", "ahostsv4", "any.name.example"]).stdout.startswith("8.8.8.8 ")
    page = ["busybox", "wget", "-q", "-O", "-", "http://8.8.8.8/"]
    assert running.exec("network", page).stdout == "This is the internet of the lab.\n"
    assert running.exec("network", ["busybox", "ping", "-c", "1", "8.8.8.8"]).returncode == 0
    assert running.exec("worker1", ["ip", "route", "show", "default"]).stdout == ""
    assert running.exec("network", ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "0\n"


def test_tagged_frames_and_tcp_pass_between_hosts(running: Lab) -> None:
    add_tagged_port(running, "worker1", "probe77", 77, "192.168.77.1")
    add_tagged_port(running, "network", "probe77", 77, "192.168.77.2")
    add_tagged_port(running, "worker1", "probe78", 78, "192.168.77.3")
    try:
        serve = ["ip", "netns", "exec", "probe77", "busybox", "httpd", "-p", "80", "-h", "/usr/bin"]
        running.exec("network", serve)
        assert pings(running, "worker1", "probe77", "192.168.77.2")
        assert not pings(running, "worker1", "probe78", "192.168.77.2")
        fetch = "busybox wget -q -O - http://192.168.77.2/qemu-img | sha256sum"
        fetched = running.exec("worker1", ["ip", "netns", "exec", "probe77", "sh", "-c", fetch]).stdout
        assert fetched == running.exec("network", ["sh", "-c", "sha256sum < /usr/bin/qemu-img"]).stdout
    finally:
        for host, name in (("worker1", "probe77"), ("network", "probe77"), ("worker1", "probe78")):
            running.exec(host, ["ovs-vsctl", "del-port", "br-int", name])
            running.exec(host, ["ip", "netns", "delete", name])


def test_a_cut_link_is_silent_and_can_be_reconnected(running: Lab) -> None:
    running.cut("worker2")
    started = time.monotonic()
    assert not answers_ssh(running, "10.0.10.2")
    assert time.monotonic() - started > 0.9, "refused instead of left without an answer"
    assert answers_ssh(running, "10.0.10.1")
    running.reconnect("worker2")
    assert ssh(running, "10.0.10.2", "hostname") == "worker2\n"


# Ends of hosts, and of the lab


def test_a_host_comes_back_with_its_disk(running: Lab) -> None:
    ssh(running, "10.0.10.1", "touch ~/kept")
    running.exec("worker1", ["sh", "-c", "touch /tmp/gone /run/gone; setsid sleep 1000 </dev/null >/dev/null 2>&1 &"])
    running.exec("worker1", ["ovs-vsctl", "--no-wait", "set", "Bridge", "br-int", "external_ids:kept=yes"])
    with watched([pids(running)["worker1"]]) as processes:
        running.stop_host("worker1")
        wait_until(lambda: not processes(), 2, "the last process ends")
    assert not answers_ssh(running, "10.0.10.1")
    with pytest.raises(LabError, match="worker1 is down"):
        running.exec("worker1", ["true"])
    running.start_host("worker1")
    assert ssh(running, "10.0.10.1", "ls; ls /tmp") == "kept\n"
    assert "kept=yes" in running.exec("worker1", ["ovs-vsctl", "get", "Bridge", "br-int", "external_ids"]).stdout


@pytest.mark.parametrize("victim", ["switch", "worker2", "network", "internet", "manager"])
def test_up_restarts_killed_parts_and_leaves_the_rest_alone(running: Lab, victim: str) -> None:
    before = pids(running)
    pid = before.pop(victim)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    running.up()
    assert is_up(running)
    after = pids(running)
    assert after.pop(victim) != pid
    assert after == before
    assert ssh(running, "10.0.10.2", "hostname") == "worker2\n"
    test_tagged_frames_and_tcp_pass_between_hosts(running)


@pytest.mark.parametrize("started", [1, 3, 5])
def test_up_and_down_after_an_up_that_was_killed_half_way(machine_before: str, started: int) -> None:
    """Kill it at its report of the first, third or last host; none is plugged in by then."""
    lab = Lab(f"{NAME}-3")
    argv = [sys.executable, "-m", "lab", "--name", f"{NAME}-3", "up"]
    with subprocess.Popen(argv, cwd=paths.ROOT, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        said = [first.stderr.readline() for _ in range(started)]
        first.kill()
    assert said[-1].startswith("lab: starting ")
    try:
        lab.up()
        assert is_up(lab)
        assert ssh(lab, "10.0.10.3", "hostname") == "network\n"
    finally:
        with watched([pid for pid in pids(lab).values() if pid]) as processes:
            lab.down()
            wait_until(lambda: not processes(), 2, "the last process ends")
    assert machine_view() == machine_before


def test_down_leaves_nothing_and_can_be_repeated(machine_before: str) -> None:
    lab = Lab(f"{NAME}-4", workers=3, managers=2)
    lab.up()
    assert ssh(lab, "10.0.10.4", "hostname") == "worker3\n"
    nodes = pids(lab).values()
    assert len(nodes) == 10
    assert lab.exec("database1", ["ps", "-o", "user=", "-C", "postgres"]).stdout.startswith("postgres\n")
    assert lab.run(["sh", "-c", "touch ~/mine; ls ~"], manager=2).stdout == "mine\n"
    assert lab.run(["sh", "-c", "ls ~; hostname -I"]).stdout.split() == ["10.0.10.250"]
    with watched(nodes) as processes:
        Lab(f"{NAME}-4").down()
        wait_until(lambda: not processes(), 2, "the last process ends")
    assert not lab.folder.exists()
    assert machine_view() == machine_before
    lab.down()
    assert not is_up(lab)


# The command line


def command_line(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lab", "--name", NAME, *words]
    return subprocess.run(argv, cwd=paths.ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_status_has_a_line_per_host(running: Lab) -> None:
    done = command_line("status")
    assert done.returncode == 0
    assert f"worker1    10.0.10.1    up       {pids(running)['worker1']}\n" in done.stdout
    running.stop_host("worker1")
    done = command_line("status")
    assert done.returncode == 1
    assert "worker1    10.0.10.1    down\n" in done.stdout


@pytest.mark.usefixtures("running")
def test_run_and_exec_pass_words_and_exit_status_on() -> None:
    assert command_line("run", "sh", "-c", "exit 7").returncode == 7
    assert command_line("exec", "network", "sh", "-c", "exit 8").returncode == 8
    assert command_line("exec", "worker1", "printf", "%s|", "a b", "-c", "*").stdout == "a b|-c|*|"
    assert command_line("run", "pwd").stdout == f"{paths.ROOT}\n"
    assert command_line("run", "id", "-u").stdout == f"{paths.caller().uid}\n"
    assert "manager2 is down" in command_line("run", "--manager", "2", "true").stderr
    assert "there are managers 1 to 4, not 5" in command_line("run", "--manager", "5", "true").stderr
    assert command_line("exec", "worker9", "true").returncode == 1


# A guest


def boot_guest(lab: Lab) -> None:
    """Boot a guest on worker1 with eth0 unplugged and eth1 on VLAN 120, where the network node serves addresses."""
    add_tagged_port(lab, "network", "lan120", 120, "192.168.120.1")
    dnsmasq = "dnsmasq --conf-file=/dev/null --no-hosts --no-resolv --pid-file=/run/lan120.pid --leasefile-ro --port=0"
    serve = [*dnsmasq.split(), "--dhcp-range=192.168.120.10,192.168.120.10", "--dhcp-option=6,8.8.8.8"]
    lab.exec("network", ["ip", "netns", "exec", "lan120", *serve])
    lab.exec("worker1", ["mkdir", "-p", GUEST], user="ubuntu")
    copy = ["-i", str(lab.key_file), "-o", f"UserKnownHostsFile={lab.files.known_hosts}", "-o", "BatchMode=yes"]
    copy += ["-o", "StrictHostKeyChecking=accept-new", str(lab.image), f"ubuntu@10.0.10.1:{GUEST}/base.qcow2"]
    lab.run(["scp", "-q", *copy])
    overlay = f"qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 {GUEST}/vm.qcow2 1G"
    lab.exec("worker1", overlay.split(), user="ubuntu")
    lab.exec("worker1", ["ip", "tuntap", "add", "dev", "tap120", "mode", "tap", "user", "ubuntu"])
    lab.exec("worker1", ["ip", "link", "set", "tap120", "up"])
    lab.exec("worker1", ["ovs-vsctl", "add-port", "br-int", "tap120", "tag=120"])
    qemu = (
        "qemu-system-x86_64 -accel tcg -m 128 -display none -vnc none "
        f"-drive file={GUEST}/vm.qcow2,if=virtio -device virtio-net-pci "
        "-netdev tap,id=n1,ifname=tap120,script=no,downscript=no -device virtio-net-pci,netdev=n1 "
        f"-serial unix:{GUEST}/vm.console,server=on,wait=off"
    )
    start = f"setsid {qemu} </dev/null >{GUEST}/vm.log 2>&1 & echo $! >{GUEST}/vm.pid"
    lab.exec("worker1", ["sh", "-c", start], user="ubuntu")


def test_a_guest_boots_gets_an_address_and_can_be_worked_with(running: Lab) -> None:
    boot_guest(running)
    with GuestConsole(running, "worker1", f"{GUEST}/vm.console") as console:
        console.wait_for("guest ready", 60)
        console.login()
        console.wait_for(r"(?m)^eth1: 192\.168\.120\.10/24$")
        assert console.run("ping -c 2 192.168.120.1")[1] == 0
        output, status = console.run("ip route; cat /etc/resolv.conf")
        assert "default via 192.168.120.1 dev eth1" in output
        assert "nameserver 8.8.8.8" in output
        output, status = console.run("disktest 4", 60)
        assert status == 0
        assert output.startswith("disktest: ok, 4 MB written in ")
        assert console.run("disktest 100000") == (
            "disktest: the disk has 992 MB beyond the boot files, not 100000\n",
            1,
        )
        assert console.run("false") == ("", 1)
    with GuestConsole(running, "worker1", f"{GUEST}/vm.console") as console:
        console.login()
        assert console.run("echo still here") == ("still here\n", 0)
        with contextlib.suppress(LabError):  # it may be gone before it can answer
            console.run("poweroff")
        # tail ends with the process that it follows.
        running.exec("worker1", ["sh", "-c", f"tail -f /dev/null --pid=$(cat {GUEST}/vm.pid)"], timeout=30)

"""Changes of a running slice, as guests see them: links and VMs come and go, and the others notice nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from lab import Lab
from tests.lab.test_lans import command
from tests.support.lab.visitor import Guest, Menu, SeenVM, traces, wait_until

pytestmark = pytest.mark.lab

FILE = """\
slice: live
vms: {a: {flavor: cirros, nics: 3}, b: {flavor: cirros, nics: 3}}
links:
- {ends: ["a:eth1", "b:eth1"], name: first}
"""

PINGS_PER_SECOND = 10


class Live:
    """The slice of the file, running on two workers, with a shell in each guest."""

    def __init__(self, lab: Lab, menu: Menu) -> None:
        self.lab, self.menu = lab, menu
        made = command(lab, "create", "-", text=FILE)
        assert made.returncode == 0, made.stderr
        self.slice_id = int(made.stdout.split()[-1])
        menu.deploy(self.slice_id)
        self.guests = {name: Guest(lab, self.slice_id, vm) for name, vm in self.vms.items()}

    @property
    def vms(self) -> dict[str, SeenVM]:
        return self.menu.topology(self.slice_id)

    def do(self, *words: str, text: str = "") -> str:
        """Run a command, and return its output."""
        answer = command(self.lab, *words, text=text)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def begin_pings(self, address: str) -> None:
        """Let guest `a` ping an address ten times a second until `pings_lost` is asked."""
        self.guests["a"].run(f"ping -i {1 / PINGS_PER_SECOND} {address} >/tmp/pings 2>&1 & echo $! >/tmp/pinging")

    def pings_lost(self) -> tuple[int, int]:
        """End the pings; return how many were answered, and how many before the last of these were not."""
        said = self.guests["a"].run("kill -INT $(cat /tmp/pinging); sleep 1; cat /tmp/pings")
        answered = {int(number) for number in re.findall(r" seq=(\d+) ", said)}
        return len(answered), max(answered) + 1 - len(answered)

    def uptimes(self) -> dict[str, float]:
        return {name: float(guest.run("cut -d' ' -f1 /proc/uptime")) for name, guest in self.guests.items()}

    def close(self) -> None:
        for guest in self.guests.values():
            guest.console.close()


@pytest.fixture(scope="module")
def live(lab: Lab, before: dict[str, str]) -> Iterator[Live]:
    menu = Menu(lab)
    made = Live(lab, menu)
    assert {vm.worker for vm in made.vms.values()} == {"worker1", "worker2"}
    yield made
    made.close()
    menu.delete(made.slice_id)
    menu.close()
    assert traces(lab) == before


def test_a_link_comes_and_goes_while_guests_run_and_another_link_loses_nothing(live: Live) -> None:
    a, b = live.guests["a"], live.guests["b"]
    started = live.uptimes()
    live.begin_pings(live.vms["b"].addresses["eth1"])
    assert a.run("cat /sys/class/net/eth2/carrier 2>&1").strip() in {"0", "cat: read error: Invalid argument"}
    live.do("link", "live", "a:eth2", "b:eth2", "--name", "second")
    added = {name: vm.addresses["eth2"] for name, vm in live.vms.items()}
    for name, guest in live.guests.items():
        wait_until(lambda: guest.addresses().get("eth2") == added[name], f"the lease of {name} on the new link", 60)  # noqa: B023 - called here
    assert a.reaches(added["b"])
    assert b.reaches(added["a"])
    live.do("unlink", "live", "second")
    assert a.run("cat /sys/class/net/eth2/carrier").strip() == "0"
    answered, lost = live.pings_lost()
    assert answered > PINGS_PER_SECOND
    assert lost == 0
    assert all(now > started[name] for name, now in live.uptimes().items())
    assert command(live.lab, "doctor").returncode == 0


def test_a_vm_joins_a_link_as_a_lan_and_leaves_it(live: Live) -> None:
    live.begin_pings(live.vms["b"].addresses["eth1"])
    addresses = {name: vm.addresses for name, vm in live.vms.items()}
    live.do("add-vm", "live", "c", "cirros", "--nics", "2")
    larger = live.do("export", "live").replace("ends: [a, b]", "ends: [a, b, c]")
    assert "changed live" in live.do("apply", "-", "--yes", text=larger)
    vms = live.vms
    assert {name: vms[name].addresses for name in addresses} == addresses
    c = Guest(live.lab, live.slice_id, vms["c"])
    assert c.reaches(vms["a"].addresses["eth1"])
    c.console.close()
    live.do("remove-vm", "live", "c", "--yes")
    assert live.pings_lost()[1] == 0
    assert {name: vm.addresses for name, vm in live.vms.items()} == addresses
    assert command(live.lab, "doctor").returncode == 0
    assert command(live.lab, "prove").returncode == 0


def test_more_interfaces_restart_the_vm_that_gets_them_and_no_other(live: Live) -> None:
    text = live.do("export", "live").replace("b: {flavor: cirros, nics: 3}", "b: {flavor: cirros, nics: 4}")
    assert "VM b: restarted" in live.do("plan", "-", text=text)
    before = live.uptimes()["a"]
    live.guests["b"].console.close()
    live.do("apply", "-", "--yes", text=text)
    live.guests["b"] = Guest(live.lab, live.slice_id, live.vms["b"])
    assert live.guests["b"].succeeds("test -e /sys/class/net/eth4")
    assert live.uptimes()["a"] > before
    assert live.guests["a"].reaches(live.vms["b"].addresses["eth1"])
    assert command(live.lab, "doctor").returncode == 0


def test_a_link_is_silent_down_slow_and_up_again(live: Live) -> None:
    a, other = live.guests["a"], live.vms["b"].addresses["eth1"]
    live.do("set-link", "live", "first", "--state", "silent")
    assert a.never_reaches(other)
    assert a.run("cat /sys/class/net/eth1/carrier").strip() == "1"
    live.do("set-link", "live", "first", "--state", "down")
    assert a.run("cat /sys/class/net/eth1/carrier").strip() == "0"
    assert command(live.lab, "doctor").returncode == 0
    live.do("set-link", "live", "first", "--state", "up", "--rate", "b=1mbit")
    assert a.reaches(other)
    assert "rate: {b: 1mbit}" in live.do("export", "live")
    assert command(live.lab, "doctor").returncode == 0


SEND = "dd if=/dev/zero bs=1000 count=800 2>/dev/null | nc -w 20 {address} 5000"
"""800 kB, which take 6.4 s at 1 Mbit/s and no time at all without a bound."""


def seconds_to_send(live: Live) -> float:
    """Return the seconds in which guest `a` sends 800 kB to guest `b`."""
    a, b = live.guests["a"], live.guests["b"]
    b.run("(sleep 40 | nc -l -p 5000 >/dev/null 2>&1) &")  # at the end of its own input nc would hang up
    wait_until(lambda: b.succeeds("cat /proc/net/tcp* | grep -q ':1388 .* 0A '"), "the listener on 5000", 30)
    began = time.monotonic()
    a.run(SEND.format(address=live.vms["b"].addresses["eth1"]))
    return time.monotonic() - began


def test_a_rate_bounds_what_its_end_receives_also_after_a_restart_of_the_switch(live: Live) -> None:
    tap, worker = f"tap_{live.vms['b'].vm_id}_eth1", live.vms["b"].worker
    assert seconds_to_send(live) > 4
    pid_file = "/run/openvswitch/ovs-vswitchd.pid"
    before = live.lab.exec(worker, ["cat", pid_file]).stdout
    live.lab.exec(worker, ["kill", "-KILL", before.strip()])
    wait_until(
        lambda: live.lab.exec(worker, ["cat", pid_file], check=False).stdout not in {"", before}, "the switch", 60
    )
    live.do("repair", "live")
    assert "tbf" in live.lab.exec(worker, ["tc", "qdisc", "show", "dev", tap]).stdout
    assert seconds_to_send(live) > 4
    live.do("set-link", "live", "first", "--rate", "none")
    assert "tbf" not in live.lab.exec(worker, ["tc", "qdisc", "show", "dev", tap]).stdout
    assert live.lab.exec(worker, ["ovs-vsctl", "list", "QoS"]).stdout == ""


def test_a_guest_that_powered_itself_off_is_not_started_by_a_change(live: Live) -> None:
    a, b = live.guests["a"], live.guests["b"]
    b.console.run("poweroff -f &", 5)
    b.console.close()
    wait_until(lambda: "VM b powered itself off" in command(live.lab, "doctor").stdout, "the end of the guest", 60)
    live.do("link", "live", "a:eth2", "b:eth2", "--name", "second")
    live.do("unlink", "live", "second")
    assert "VM b powered itself off" in command(live.lab, "doctor").stdout
    assert a.run("cat /sys/class/net/eth1/carrier").strip() == "0"
    live.do("start", "live", "b")
    live.guests["b"] = Guest(live.lab, live.slice_id, live.vms["b"])
    wait_until(lambda: a.succeeds("grep -q 1 /sys/class/net/eth1/carrier"), "the carrier", 20)
    assert command(live.lab, "doctor").returncode == 0


def test_a_kernel_without_netem_is_named_and_nothing_is_changed(live: Live) -> None:
    """The kernel of this machine may have it: then the delay is measured."""
    answer = command(live.lab, "set-link", "live", "first", "--delay", "100ms")
    if answer.returncode == 0:
        said = live.guests["a"].run(f"ping -c 3 {live.vms['b'].addresses['eth1']}")
        assert float(re.findall(r"min/avg/max = ([\d.]+)", said)[0]) > 200
        live.do("set-link", "live", "first", "--delay", "none")
        return
    assert "the kernel has no netem, which delay, jitter and loss need" in answer.stderr
    assert "nothing was changed" in answer.stderr
    assert "delay" not in live.do("export", "live")
    assert live.guests["a"].reaches(live.vms["b"].addresses["eth1"])

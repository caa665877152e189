"""Interfaces without a link: no carrier in the guest, no way out of it, and the start of guests by QMP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from lab import Lab
from machines import qmp
from machines.qmp import Monitor
from shell.scripts import load
from tests.lab.test_drift import Pair, cli, codes
from tests.lab.test_lans import command
from tests.support.lab import frames as f
from tests.support.lab import intruder
from tests.support.lab.visitor import IMAGES, Guest, Menu, wait_until

pytestmark = pytest.mark.lab

FRAMES = 2000
TAGGED = 20
SPARE = "eth2"


class Wires(Pair):
    """Two linked VMs with a spare interface each; `one` has tools to send any frame."""

    def __init__(self, lab: Lab, menu: Menu) -> None:
        super().__init__(lab, menu, "wires")
        self.worker = self.vms["one"].worker
        source = self.vms["one"].macs[SPARE]
        flood = [f.ethernet(source, f.BROADCAST, 0x88B5, b"ATTK%04d" % number) for number in range(FRAMES)]
        tagged = {
            f"tagged{run}": [
                f.ethernet(source, f.BROADCAST, 0x88B5, b"CTRL%02d%02d" % (run, number), (f.Q_TAG, 55))
                for number in range(TAGGED)
            ]
            for run in range(3)
        }
        intruder.offer_tools(lab, {"flood": flood, **tagged})
        self.guest, self.other = (Guest(lab, self.slice_id, self.vms[name]) for name in ("one", "two"))
        for guest in (self.guest, self.other):
            intruder.equip(guest)

    def monitor(self, name: str) -> Monitor:
        vm, folder = self.vms[name], f"{IMAGES}/slice-{self.slice_id}"
        return Monitor(f"{folder}/{name}.pid", f"slice{self.slice_id}-vm{vm.vm_id}", f"{folder}/{name}.qmp")

    def ask(self, name: str, *commands: str) -> qmp.Dialog:
        argv = qmp.ask([(self.monitor(name), commands)])
        return qmp.parse(self.lab.exec(self.vms[name].worker, [*AS_USER, *argv], check=False).stdout)[name]

    def carrier(self, nic: str) -> str:
        return self.guest.run(f"ip link set {nic} up; cat /sys/class/net/{nic}/carrier").strip()

    def counters(self, host: str) -> dict[str, int]:
        """Return the packets that each port of br-int has received."""
        said = self.lab.exec(host, ["ovs-ofctl", "dump-ports-desc", "br-int"]).stdout
        names = dict(re.findall(r"^ (\d+)\((\S+)\):", said, re.MULTILINE))
        stats = self.lab.exec(host, ["ovs-ofctl", "dump-ports", "br-int"]).stdout
        found = re.findall(r'port +"?([\w-]+)"?: rx pkts=(\d+)', stats)
        return {names.get(name, name): int(count) for name, count in found}

    def close(self) -> None:
        for guest in (self.guest, self.other):
            guest.console.close()


AS_USER = ("setpriv", "--reuid=ubuntu", "--regid=ubuntu", "--init-groups", "--")
AT_HOME = ("sh", "-c", 'cd /home/ubuntu && exec "$@"', "sh")


@pytest.fixture(scope="module")
def wires(lab: Lab) -> Iterator[Wires]:
    menu = Menu(lab)
    made = Wires(lab, menu)
    yield made
    made.close()
    menu.delete(made.slice_id)
    menu.close()


def test_a_guest_sees_a_carrier_on_linked_interfaces_only(wires: Wires) -> None:
    assert {nic: wires.carrier(nic) for nic in ("eth0", "eth1", SPARE)} == {"eth0": "1", "eth1": "1", SPARE: "0"}
    wires.guest.console.close()
    wires.ask("one", qmp.command("system_reset"))
    wires.guest = Guest(wires.lab, wires.slice_id, wires.vms["one"])
    assert wires.carrier(SPARE) == "0"
    intruder.equip(wires.guest)


def test_what_a_guest_sends_without_a_link_reaches_nothing(wires: Wires) -> None:
    """Give the guest a carrier, as a flavor with `link_state: up` does: else it would not send."""
    tap = wires.tap("one", SPARE)
    before = {host: wires.counters(host) for host in ("worker1", "worker2", "network")}
    assert tap not in before[wires.worker]
    assert wires.ask("one", qmp.set_link("nic2", up=True)).end is qmp.DialogEnd.DONE
    try:
        assert wires.carrier(SPARE) == "1"
        assert intruder.send(wires.guest, SPARE, "flood") == FRAMES
        assert intruder.received(wires.other) == set()
        said = json.loads(wires.lab.exec(wires.worker, ["ip", "-j", "-s", "link", "show", "dev", tap]).stdout)[0]
        assert said["stats64"]["rx"]["packets"] == 0
        for host, ports in before.items():
            now = wires.counters(host)
            assert all(now[name] - count < FRAMES / 4 for name, count in ports.items()), (host, ports, now)
    finally:
        wires.ask("one", qmp.set_link("nic2", up=False))
    assert intruder.send(wires.guest, "eth1", "flood") == FRAMES
    wait_until(lambda: len(intruder.received(wires.other)) > FRAMES / 2, "the same frames by a link", 60)


def test_frames_with_tags_of_their_own_pass_a_transparent_link_only(wires: Wires) -> None:
    file = yaml.safe_load(command(wires.lab, "export", str(wires.slice_id)).stdout)
    (link,) = file["links"]
    for run, transparent in enumerate((False, True, False)):
        file["links"] = [link | {"transparent": transparent}]
        answer = command(wires.lab, "apply", "-", "--yes", text=yaml.safe_dump(file))
        assert answer.returncode == 0, answer.stderr
        assert wires.guest.reaches(wires.vms["two"].addresses["eth1"])
        assert intruder.send(wires.guest, "eth1", f"tagged{run}") == TAGGED
        if transparent:
            wait_until(lambda: len(_tagged(wires, 1)) == TAGGED, "the tagged frames", 30)
        assert command(wires.lab, "doctor").returncode == 0
        assert bool(_tagged(wires, run)) == transparent


def _tagged(wires: Wires, run: int) -> set[str]:
    """Return the marks of the tagged frames of a run that have arrived."""
    return {mark for mark in intruder.received(wires.other) if mark.startswith(f"CTRL{run:02}")}


def test_files_of_a_vm_are_of_its_user_only(wires: Wires) -> None:
    folder = f"{IMAGES}/slice-{wires.slice_id}"
    said = wires.lab.exec(wires.worker, ["stat", "-c", "%a %U", folder, f"{folder}/one.qmp"]).stdout
    assert said.splitlines() == ["700 ubuntu", "700 ubuntu"]


def test_a_guest_that_stands_still_is_found_and_runs_after_a_repair(wires: Wires) -> None:
    wires.ask("one", qmp.command("stop"))
    assert codes(wires.lab) == {"qemu-paused"}
    assert wires.repair() == ["start of the guests (one) on 10.0.10.1"]
    assert codes(wires.lab) == set()
    assert wires.ask("one", qmp.command("query-status")).answers[0]["status"] == "running"


def test_a_qemu_that_does_not_answer_is_found_and_stops_no_other_look(wires: Wires) -> None:
    pid = wires.pid("one")
    wires.lab.exec(wires.worker, ["kill", "-STOP", pid])
    try:
        assert codes(wires.lab) == {"qemu-stuck"}
        assert wires.ask("one", qmp.command("query-status")).end is qmp.DialogEnd.LATE
    finally:
        wires.lab.exec(wires.worker, ["kill", "-CONT", pid])
    wait_until(lambda: codes(wires.lab) == set(), "the answer of QEMU", 20)


def test_a_tap_without_a_link_that_was_deleted_is_held_again_after_a_restart(wires: Wires) -> None:
    tap = wires.tap("one", SPARE)
    wires.lab.exec(wires.worker, ["ip", "link", "del", tap])
    assert codes(wires.lab) == {"tap-missing"}
    assert wires.repair() == [f"TAPs ({tap}) on 10.0.10.1"]
    assert codes(wires.lab) == {"tap-lost"}
    wires.guest.console.close()
    assert cli(wires.lab, "restart", str(wires.slice_id), "one")[0] == 0
    assert codes(wires.lab) == set()


def make_older(wires: Wires, name: str) -> None:
    """Start a VM again as an older version did: no QMP, running at once, and no TAP for the spare interface."""
    vm, files = wires.vms[name], f"{IMAGES}/slice-{wires.slice_id}/{name}"
    host, pid, tap = vm.worker, wires.pid(name), wires.tap(name, SPARE)
    words = wires.lab.exec(host, ["cat", f"/proc/{pid}/cmdline"]).stdout.rstrip("\0").split("\0")
    at = words.index("-qmp")
    words = [word for word in (*words[:at], *words[at + 2 :]) if word != "-S"]
    spare = next(place for place, word in enumerate(words) if f"ifname={tap}," in word)
    words = [word.removesuffix(",netdev=nic2") for word in (*words[: spare - 1], *words[spare + 1 :])]
    start = load("processes/start-process").argv(
        f"{files}.pid", f"slice{wires.slice_id}-vm{vm.vm_id}", "", "1",
        *load("processes/launch-process").argv(f"{files}.pid", f"{files}.qemu", f"{files}.log", *words),
    )  # fmt: skip
    wires.lab.exec(host, [*AS_USER, *AT_HOME, *start])
    table = f"cloud-repositorio-slice-{wires.slice_id}"
    script = f"""set -e; rm -f {files}.qmp; ip link del {tap}
      rule=$(nft -a list table inet {table} | grep '"{tap}"')
      nft delete rule inet {table} taps handle "${{rule##* }}" """
    wires.lab.exec(host, ["sh", "-c", script])


def test_a_vm_of_an_older_version_is_reported_proved_and_left_running(wires: Wires) -> None:
    make_older(wires, "one")
    pid = wires.pid("one")
    assert codes(wires.lab) == {"qemu-older"}
    problems = wires.problems()
    assert [line for line in problems if line.startswith("do: ")] == ["do: 15 restarts it"]
    assert cli(wires.lab, "prove")[0] == 0
    wires.repair()
    assert (wires.pid("one"), codes(wires.lab)) == (pid, {"qemu-older"})
    assert cli(wires.lab, "restart", str(wires.slice_id), "one")[0] == 3  # it has no power button
    assert codes(wires.lab) == set()

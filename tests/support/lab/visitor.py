"""A user of the lab: the real menu in the manager's namespace, with views of hosts and guests."""

from __future__ import annotations

import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from database import Database
from lab import GuestConsole, Lab, paths
from remote.batch import IDLE_SECONDS
from tests.support.paths import ROOT

IMAGES = "/home/ubuntu/vm_images"
MENU_PROMPT = "Choose an option: "
HOSTS = {"10.0.10.1": "worker1", "10.0.10.2": "worker2", "10.0.10.3": "network"}
ANSWER_SECONDS = 60.0


def age_measurements(database: Path) -> None:
    """Let the next login measure all workers again, as it does after a minute."""
    with Database(database).transaction() as state:
        for worker in state.workers.values():
            worker.measured = 1.0


DATABASES: dict[Path, Lab] = {}
"""The databases of labs that tests brought up, and those that tests made beside them."""


@contextmanager
def brought_up(name: str, **options: Any) -> Iterator[Lab]:
    """Bring up a lab without Debian's guest, and remove all of it afterwards. `options` are those of `Lab`."""
    lab = Lab(name, has_debian=False, **options)
    lab.down()
    try:
        lab.up()
        DATABASES[lab.database] = lab
        yield lab
    finally:
        for database in [path for path, its_lab in DATABASES.items() if its_lab is lab]:
            del DATABASES[database]
        lab.down()


def empty_database(lab: Lab, path: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """Write a copy of the lab's database, changed by `change`, for the tests' user; return its path.

    It has no slices and no measurements: a measurement of a worker broken by a test would keep VMs from it.
    """
    record = yaml.safe_load(lab.database.read_text(encoding="utf-8"))
    for user in record["users"].values():
        user |= {"used_vms": 0, "slices": []}
    record |= {"slices": {}, "workers": {}}
    change(record)
    path.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    path.chmod(0o600)
    paths.caller().own(path)
    DATABASES[path] = lab
    return path


class Menu:
    """One session of `cli.py`, scripted over a pipe, logged in; `answers` are for questions before the menu."""

    def __init__(
        self, lab: Lab, user: str = "admin", database: Path | str | None = None, *answers: str, manager: int = 1
    ) -> None:
        self._process = lab.popen(
            [sys.executable, str(ROOT / "cli.py"), "--database", str(database or lab.database)],
            manager=manager,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._received = ""
        self.type(user, user, *answers)
        self.greeting = self.read()

    def type(self, *lines: str) -> None:
        """Type lines without waiting for their result."""
        assert self._process.stdin
        self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self._process.stdin.flush()

    def read(self, until: str = MENU_PROMPT, seconds: float = ANSWER_SECONDS) -> str:
        """Return the output up to `until`, by default the menu's own prompt."""
        assert self._process.stdout
        deadline = time.monotonic() + seconds
        while until not in self._received:
            ready = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]
            piece = self._process.stdout.read1(65536) if ready else b""  # type: ignore[attr-defined]
            assert piece, f"the menu did not come to {until!r}: {self._received[-2000:]}"
            self._received += piece.decode(errors="replace")
        shown, _, self._received = self._received.partition(until)
        return shown

    def choose(self, entry: int, *answers: object) -> str:
        """Choose a menu entry, answer its prompts, and return its output."""
        self.type(str(entry), *map(str, answers))
        return self.read()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End the manager as `kill -9` does."""
        self._process.kill()
        self._process.communicate(timeout=30)

    def close(self) -> int:
        """Choose Exit; return the exit status."""
        self.type("0")
        output, _ = self._process.communicate(timeout=30)
        assert b"Traceback" not in output
        return self._process.returncode

    # --- the entries --------------------------------------------------------------------------------------------------

    def create_slice(self, name: str) -> int:
        return int(_found(r"Slice created! ID: (\d+)", self.choose(2, name)))

    def add_vm(self, slice_id: int, name: str, nics: int = 1, *, internet: bool = False) -> int:
        shown = self.choose(3, slice_id, name, 1, nics, "y" if internet else "n")
        return int(_found(r"VM added! ID: (\d+), VNC: \d+, Flavor: cirros", shown))

    def link(self, slice_id: int, first: int, eth_a: str, second: int, eth_b: str) -> int:
        return int(_found(r"Link created! VLAN: (\d+)", self.choose(4, slice_id, first, eth_a, second, eth_b)))

    def create_pair(self, name: str) -> int:
        """Create a slice of two linked VMs, a and b, of which a has internet; return its id."""
        slice_id = self.create_slice(name)
        first, second = self.add_vm(slice_id, "a", internet=True), self.add_vm(slice_id, "b")
        self.link(slice_id, first, "eth1", second, "eth1")
        return slice_id

    def deploy(self, slice_id: int) -> str:
        shown = self.choose(6, slice_id)
        assert "Slice deployed successfully" in shown, shown
        return shown

    def delete(self, slice_id: int) -> str:
        shown = self.choose(7, slice_id, "y")
        assert "Slice deleted" in shown, shown
        return shown

    def topology(self, slice_id: int) -> dict[str, SeenVM]:
        """Return the VMs of a slice by name, from "View my Slices"."""
        blocks = re.split(r"^(?=Slice )", self.choose(5), flags=re.MULTILINE)
        (block,) = [block for block in blocks if block.startswith(f"Slice {slice_id}:")]
        return seen_vms(block)


@dataclass
class SeenVM:
    """A VM as the menu shows it."""

    text: str

    @cached_property
    def vm_id(self) -> int:
        return int(_found(r"^VM (\d+):", self.text))

    @cached_property
    def name(self) -> str:
        return _found(r"^VM \d+: ([\w-]+)", self.text)

    @cached_property
    def worker(self) -> str:
        return HOSTS[_found(r"worker ([\d.]+)", self.text)]

    @cached_property
    def running(self) -> bool:
        return bool(re.search(r"running$", self.text.splitlines()[0]))

    @cached_property
    def addresses(self) -> dict[str, str]:
        """Return interface -> address, for those with an address."""
        return dict(re.findall(r"(eth\d+)(?: \(\S+\))?: MAC .*?address ([\d.]+)", self.text))

    @cached_property
    def vlans(self) -> dict[str, int]:
        return {name: int(vlan) for name, vlan in re.findall(r"(eth\d+)(?: \(\S+\))?: MAC .*?VLAN (\d+)", self.text)}

    @cached_property
    def macs(self) -> dict[str, str]:
        return dict(re.findall(r"(eth\d+)(?: \(\S+\))?: MAC ([0-9a-f:]+)", self.text))


def seen_vms(block: str) -> dict[str, SeenVM]:
    """Return the VMs of a slice by name, from what the menu or `show` says of it."""
    vms = [SeenVM(part) for part in re.split(r"^  (?=VM )", block, flags=re.MULTILINE)[1:]]
    return {vm.name: vm for vm in vms}


class Guest:
    """A shell in a guest, through its serial console."""

    def __init__(self, lab: Lab, slice_id: int, vm: SeenVM) -> None:
        self.vm = vm
        folder = f"/home/ubuntu/vm_images/slice-{slice_id}"
        self.console = GuestConsole(lab, vm.worker, f"{folder}/{vm.name}.console")
        self.console.login(120)
        wait_until(lambda: self.addresses() == vm.addresses, f"the addresses of {vm.name}", 90)

    def addresses(self) -> dict[str, str]:
        """Return interface -> IPv4 address, as configured in the guest."""
        return dict(re.findall(r"(eth\d+) +inet ([\d.]+)/", self.run("ip -4 -o addr")))

    def run(self, command: str, seconds: float = 60) -> str:
        return self.console.run(command, seconds)[0]

    def succeeds(self, command: str, seconds: float = 60) -> bool:
        return self.console.run(command, seconds)[1] == 0

    def reaches(self, address: str) -> bool:
        """Return whether a ping is answered within some seconds: OVS has to learn ports first."""
        return any(self.succeeds(f"ping -c 1 -W 2 {address}") for _ in range(5))

    def never_reaches(self, address: str) -> bool:
        return not self.succeeds(f"ping -c 4 -W 1 {address}")


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for {what} after {seconds:g} s"
        time.sleep(0.2)


def unmount(lab: Lab, host: str, path: str) -> None:
    """Unmount a folder; a waiting shell of the cloud may have it as its working directory for a while."""
    argv = ["umount", path]
    wait_until(lambda: lab.exec(host, argv, check=False).returncode == 0, f"umount {path}", IDLE_SECONDS + 10)


def traces(lab: Lab, hosts: Collection[str] = tuple(HOSTS.values())) -> dict[str, str]:
    """Return each host's switches, links, namespaces, rules, processes and files, without values that only age."""
    return {host: _trace(lab, host) for host in hosts}


# Open vSwitch's order of ports has no meaning. The first `ip netns add` of all creates /run/netns, which is iproute2's.
_TRACE = r"""
ovs-vsctl show | sort
ovs-ofctl --no-stats dump-flows br-int 2>/dev/null | sort
ip -br link | awk '{print $1, $2}' | sort
ip netns | cut -d' ' -f1 | sort
iptables-save 2>/dev/null | grep '^-'
nft list ruleset inet
find /run /tmp /home/ubuntu /etc -xdev -not -path '*/openvswitch/*' -not -path /run/netns 2>/dev/null | sort
"""
_PROCESSES = "for pid in /proc/[0-9]*; do tr '\\0' ' ' <$pid/cmdline; echo; done 2>/dev/null"
_OURS = ("qemu-system", "dnsmasq", "ip netns exec", "socat")


def _trace(lab: Lab, host: str) -> str:
    deadline = time.monotonic() + IDLE_SECONDS + 5
    while (found := shells(lab, host)).at_work and time.monotonic() < deadline:
        time.sleep(0.05)  # a shell that has lost its manager ends its batch first
    processes = [line for line in _processes(lab, host) if line.startswith(_OURS)]
    return "\n".join([lab.exec(host, ["sh", "-c", _TRACE]).stdout, *sorted(processes), f"{found.at_work} at work"])


class Shells(NamedTuple):
    """The number of a host's shells that run a batch, and of those that wait for one."""

    at_work: int
    waiting: int


def shells(lab: Lab, host: str) -> Shells:
    """Return the shells that read batches on the host."""
    processes = _processes(lab, host)
    waiting = processes.count(f"timeout {IDLE_SECONDS} dd bs=1 count=1 ")
    return Shells(processes.count("sh -s ") - waiting, waiting)


def _processes(lab: Lab, host: str) -> list[str]:
    return lab.exec(host, ["sh", "-c", _PROCESSES]).stdout.splitlines()


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match, f"nothing like {pattern!r} in: {text}"
    return match[1]

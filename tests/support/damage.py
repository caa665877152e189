"""Damage to the fake hosts of a running slice, each as a change of their state."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from core import names
from models import Slice
from tests.support.fake_hosts import FakeHost, FakeHosts

SWITCH_KEEPS = "a reboot that br-int survives"
SHARED_VLAN = 400


@dataclass(frozen=True)
class Damage:
    """The loss of one object; `strike` causes it."""

    title: str
    strike: Callable[[], object]


def possible(cloud: FakeHosts, slice_: Slice) -> list[Damage]:
    """Return all possible damage to the slice's objects, shared ones included, in a fixed order."""
    found = [damage for address in sorted(cloud.hosts) for damage in _of_host(cloud.hosts[address], slice_)]
    return sorted(found, key=lambda damage: damage.title)


def _of_host(host: FakeHost, slice_: Slice) -> Iterator[Damage]:
    vlans = {link.vlan_id for link in slice_.links} | ({SHARED_VLAN} if slice_.uses_internet else set())
    taps = {names.tap_name(vm.vm_id, nic.name) for vm in slice_.vms for nic in vm.interfaces}
    inner = {name for vlan in vlans for name in (names.gateway_port(vlan), names.dhcp_port(vlan))}
    spaces = {names.router_namespace(slice_.slice_id), *map(names.dhcp_namespace, vlans)}

    def damage(what: str, strike: Callable[..., object], *arguments: object) -> Damage:
        def once() -> None:
            with suppress(KeyError, IndexError):  # other damage has removed it already
                strike(host, *arguments)

        return Damage(f"{what} on {host.address}", once)

    for pid_file in host.processes:
        if pid_file.startswith(f"vm_images/slice-{slice_.slice_id}/") or pid_file.split("/")[-2] in spaces:
            yield damage(f"process {pid_file}", kill, pid_file)
    yield from _of_network(host, slice_, damage, taps, inner, spaces)
    if host.processes:
        yield damage(SWITCH_KEEPS, reboot)


def _of_network(
    host: FakeHost, slice_: Slice, damage: Callable[..., Damage], taps: set[str], inner: set[str], spaces: set[str]
) -> Iterator[Damage]:
    # A lost TAP without a link comes back at its VM's restart, not by a repair; doctor says so (`tap-lost`).
    for tap in taps & host.namespaces[""].keys() & host.ports.keys():
        yield damage(f"TAP {tap}", lose_tap, tap)
        yield damage(f"TAP {tap} down", lambda h, tap: h.down.add(tap), tap)
    for port in (taps | inner) & host.ports.keys():
        yield damage(f"port {port}", lose_port, port)
        yield damage(f"tag of {port}", lambda h, port: h.ports.update({port: h.ports[port] % 4000 + 7}), port)
    for space in spaces & host.namespaces.keys():
        yield damage(f"namespace {space}", lose_namespace, space)
        for device in inner & host.namespaces[space].keys():
            yield damage(f"addresses of {device}", lambda h, s, d: h.namespaces[s][d].clear(), space, device)
    if (cookie := f"cookie={names.flow_cookie(slice_.slice_id)}") in host.flows:
        yield damage("flows", lambda h: h.flows.pop(cookie))
    for path in host.files:
        if re.fullmatch(rf"/run/({'|'.join(sorted(spaces))})/hosts/slice-{slice_.slice_id}", path):
            yield damage(f"reservations {path}", lambda h, path: h.files.pop(path), path)
    if host.rules and slice_.uses_internet:
        yield damage("a rule", lambda h: h.rules.pop(len(h.rules) // 2))
        yield damage("forwarding", lambda h: h.forwarding.discard(""))


def kill(host: FakeHost, pid_file: str) -> None:
    """End a process; its pid file stays."""
    if pid_file in host.processes:
        _, pid = host.processes.pop(pid_file)
        del host.argvs[pid]
        host.holders = {tap: holder for tap, holder in host.holders.items() if holder != pid}


def lose_tap(host: FakeHost, tap: str) -> None:
    """Delete the TAP of a running QEMU."""
    host.namespaces[""].pop(tap, None)
    host.aliases.pop(tap, None)
    host.holders.pop(tap, None)
    host.down.discard(tap)


def lose_port(host: FakeHost, port: str) -> None:
    """Delete a port of br-int, and with it an internal port's device."""
    host.ports.pop(port, None)
    host.ours.discard(port)
    host.marks.pop(port, None)
    if not port.startswith("tap_"):
        for devices in host.namespaces.values():
            devices.pop(port, None)


def lose_namespace(host: FakeHost, name: str) -> None:
    """Delete a namespace with its devices; its processes stay in a namespace without a name."""
    host.namespaces.pop(name, None)
    host.forwarding.discard(name)
    host.filters.pop(name, None)
    host.bounds.pop(name, None)


def reboot(host: FakeHost) -> None:
    """Reboot a host: Open vSwitch creates its internal ports again; all but disks is gone."""
    for pid_file in list(host.processes):
        kill(host, pid_file)
    for name in [name for name in host.namespaces if name]:
        lose_namespace(host, name)
    internal = {port for port in host.ports if not port.startswith("tap_")}
    host.namespaces[""] = {"ens3": set(), "ens4": set(), **{port: set() for port in internal}}
    host.folders = {path for path in host.folders if not path.startswith("/run/")}
    host.files = {path: text for path, text in host.files.items() if not path.startswith(("/run/", "/tmp/"))}
    for books in (
        host.aliases,
        host.flows,
        host.rules,
        host.filters,
        host.bounds,
        host.forwarding,
        host.deaf,
        host.down,
    ):
        books.clear()


def put_foreign_objects(host: FakeHost) -> None:
    """Create foreign objects, some with names like ours; none carries our mark."""
    host.ports["tap_4000_eth1"] = 4000
    host.namespaces[""] |= {"tap_4000_eth0": set(), "tap_4000_eth1": set()}
    host.namespaces["ns-dhcp-vlan4000"] = {"lo": set()}
    host.folders.add("vm_images/slice-4000")
    host.files["vm_images/slice-4000/notes.txt"] = "theirs"
    host.flows["cookie=0x1"] = ["cookie=0x1,priority=1,actions=NORMAL"]
    host.rules.append("filter -A FORWARD -i ens3 -j ACCEPT")
    host.argvs[9] = ("qemu-system-x86_64", "-name", "theirs")

"""A change that fails leaves the hosts as it found them, whatever part of the slice was there before it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.errors import HostUnreachable
from core.inventory import Inventory
from core.names import dhcp_namespace, dhcp_port, flow_cookie, gateway_port, router_namespace, tap_name
from deployment import DeploymentAPI
from models import VM, Slice
from network.stack import table_of
from remote.plan import Command, Plan, Upload
from remote.runner import Runner
from tests.support.designs import design
from tests.support.fake_hosts import Answer, FakeHost, FakeHosts

NODE, SHARED = Inventory().network_node, Inventory().internet.vlan_id
NOTHING, DISK, TAPS, PORTS, RUNNING = range(5)
"""How much of a VM is there: each includes those before it."""


@dataclass(frozen=True)
class Start:
    """The slice's objects before the run, by VM id and VLAN; `flows` and `rules` are numbers of objects."""

    vms: Mapping[int, int]
    vlans: Mapping[int, int]
    router: bool
    folders: bool
    flows: int
    rules: int
    in_use: bool
    lowered: frozenset[int] = frozenset()
    """The VMs whose TAPs were put down by hand."""


@dataclass(frozen=True)
class FailingCommand:
    """The command of a host that fails, of all that run: `lost` with the connection, `done` after it did its work."""

    host: str
    command: int
    lost: bool
    done: bool


@dataclass
class FailingHost(FakeHost):
    """A host on which one command fails, once."""

    failure: FailingCommand | None = None
    commands: int = 0

    def _act(self, action: Command | Upload) -> Answer:
        self.commands += 1
        if self.failure is None or self.commands != self.failure.command:
            return super()._act(action)
        if self.failure.done:
            super()._act(action)
        if self.failure.lost:
            raise HostUnreachable(self.address, "the connection was lost in the middle of a command", begun=True)
        return 1, "", "out of luck"


class FailingHosts(FakeHosts):
    """Hosts that can fail."""

    def connect(self, address: str) -> FakeHost:
        return self.hosts.setdefault(address, FailingHost(address))

    def fail(self, failure: FailingCommand | None) -> None:
        """Let one host fail from now on, or none."""
        for address, host in self.hosts.items():
            assert isinstance(host, FailingHost)
            host.commands, host.failure = 0, failure if failure and failure.host == address else None


def other_than(name: str) -> Slice:
    """A slice that runs beside the one of this name."""
    return design("line" if name == "ring" else "ring")


def carry_out(cloud: FakeHosts, plan: Plan) -> None:
    assert Runner(cloud.connect).run(plan).error is None


@cache
def hosts_of(name: str) -> dict[str, FakeHost]:
    """The hosts of a slice that runs beside another one on the internet VLAN."""
    cloud, deployment = FakeHosts(), DeploymentAPI(Inventory())
    carry_out(cloud, deployment.deploy_plan(other_than(name)))
    carry_out(cloud, deployment.deploy_plan(design(name)))
    return cloud.hosts


def put(cloud: FailingHosts, name: str, start: Start) -> None:
    """Copy so much of the slice to the hosts as `start` says, each object by itself."""
    slice_, deployment = design(name), DeploymentAPI(Inventory())
    if start.in_use:
        carry_out(cloud, deployment.deploy_plan(other_than(name)))
    for address in Inventory().hosts:
        cloud.connect(address)
    for vm in slice_.vms:
        _put_vm(cloud.hosts[vm.worker_ip], hosts_of(name)[vm.worker_ip], slice_, vm, start)
    _put_node(cloud.hosts[NODE], hosts_of(name)[NODE], slice_, start)


def _put_vm(host: FakeHost, whole: FakeHost, slice_: Slice, vm: VM, start: Start) -> None:
    has, folder = start.vms[vm.vm_id], f"vm_images/slice-{slice_.slice_id}"
    if start.folders or has >= DISK:
        host.folders |= {"vm_images", folder}
    own = {path: text for path, text in whole.files.items() if path.startswith(f"{folder}/{vm.name}")}
    disk = {path: text for path, text in own.items() if path.endswith("_img.qcow2") or ".id-" in path}
    host.files |= (disk if has >= DISK else {}) | (own if has >= RUNNING else {})
    if has >= DISK:
        host.files |= {path: text for path, text in whole.files.items() if "cirros.img" in path}
    taps = [tap_name(vm.vm_id, nic.name) for nic in vm.interfaces if nic.vlan_id is not None]
    for tap in taps if has >= TAPS else ():
        host.namespaces[""][tap] = set()
        host.aliases[tap] = whole.aliases[tap]
        host.down |= {tap} if vm.vm_id in start.lowered else set()
    for tap in taps if has >= PORTS else ():
        _put_port(host, whole, tap)
    for pid_file, process in whole.processes.items():
        if has >= RUNNING and pid_file in own:
            host.processes[pid_file] = process
            host.argvs[process[1]] = whole.argvs[process[1]]
            host.holders |= dict.fromkeys(taps, process[1])
            host._last_pid = max(host._last_pid, process[1])
    cookie = f"cookie={flow_cookie(slice_.slice_id)}"
    there = [flow for flow in whole.flows.get(cookie, ()) if "in_port" not in flow or _in_port(flow) in host.ports]
    if there[: start.flows]:
        host.flows[cookie] = there[: start.flows]
    lines = whole.tables.get(table_of(slice_.slice_id), "").splitlines()
    table = [line for line in lines if "iifname" not in line or line.split('"')[1] in host.aliases]
    if host.aliases.keys() & set(taps):
        host.tables[table_of(slice_.slice_id)] = "\n".join(table)


def _in_port(flow: str) -> str:
    return flow.partition("in_port=")[2].partition(",")[0]


def _put_port(host: FakeHost, whole: FakeHost, name: str) -> None:
    host.ports[name] = whole.ports[name]
    host.marks[name] = whole.marks[name]
    host.ours.add(name)
    host.protected |= whole.protected & {name}


def _put_node(host: FakeHost, whole: FakeHost, slice_: Slice, start: Start) -> None:
    router = router_namespace(slice_.slice_id)
    if start.router and slice_.links:
        _put_namespace(host, whole, router, {f"/run/{router}"})
    for vlan, has in start.vlans.items():
        server = dhcp_namespace(vlan)
        if has >= DISK:
            _put_namespace(host, whole, server, {f"/run/{server}", f"/run/{server}/hosts"})
        # A port outside its namespace is broken: a run repairs it, and the port goes with a namespace made in the run.
        places = {dhcp_port(vlan): server} | ({gateway_port(vlan): router} if start.router else {})
        for port, place in places.items() if has >= PORTS else ():
            _put_port(host, whole, port)
            host.namespaces[place][port] = set(whole.namespaces[place][port])
        if has >= RUNNING:
            _put_server(host, whole, f"/run/{server}")
    if start.in_use and start.rules and slice_.uses_internet:
        own = f"/run/{dhcp_namespace(SHARED)}/hosts/slice-{slice_.slice_id}"
        host.files[own] = whole.files[own]
        chain, rules = f"slice-{slice_.slice_id}", whole.filters[dhcp_namespace(SHARED)]
        host.filters[dhcp_namespace(SHARED)][chain] = rules[chain][: 2 + start.rules]


def _put_namespace(host: FakeHost, whole: FakeHost, name: str, folders: set[str]) -> None:
    host.namespaces[name] = {"lo": set()}
    host.folders |= folders
    host.bounds |= {name: whole.bounds[name]}
    host.forwarding |= whole.forwarding & {name}


def _put_server(host: FakeHost, whole: FakeHost, folder: str) -> None:
    host.files |= {path: text for path, text in whole.files.items() if path.startswith(f"{folder}/")}
    host.files |= {path: text for path, text in whole.files.items() if text == f"{folder}/log"}
    process = whole.processes[f"{folder}/pid"]
    host.processes[f"{folder}/pid"] = process
    host._last_pid = max(host._last_pid, process[1])


def state_of(cloud: FakeHosts) -> dict[str, dict[str, Any]]:
    """All that is there, but what says nothing: the shared DHCP server starts again when a slice leaves it."""
    own = f"/run/{dhcp_namespace(SHARED)}/pid"
    states = {}
    for address, host in cloud.hosts.items():
        state: dict[str, Any] = {**host.state(), "aliases": host.aliases, "protected": host.protected}
        state["processes"] = {path: () if path == own else process for path, process in host.processes.items()}
        state["files"] = {path: "" if path == own else text for path, text in state["files"].items()}
        state["down"] = host.down
        states[address] = state
    return copy.deepcopy(states)


@st.composite
def starts(draw: st.DrawFn, name: str) -> Start:
    slice_ = design(name)
    levels = st.integers(NOTHING, RUNNING)
    return Start(
        vms={vm.vm_id: draw(levels) for vm in slice_.vms},
        vlans={link.vlan_id: draw(levels) for link in slice_.links},
        router=draw(st.booleans()),
        folders=draw(st.booleans()),
        flows=draw(st.integers(0, 12)),
        rules=draw(st.integers(0, 2)),
        in_use=draw(st.booleans()),
        lowered=draw(st.frozensets(st.sampled_from([vm.vm_id for vm in slice_.vms]))),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, Start, FailingCommand]:
    name = draw(st.sampled_from(("single", "internet", "line", "ring", "unconnected")))
    host = draw(st.sampled_from(Inventory().hosts))
    failure = FailingCommand(host, draw(st.integers(1, 40)), draw(st.booleans()), draw(st.booleans()))
    return name, draw(starts(name)), failure


def rolled_back(name: str, start: Start, failure: FailingCommand) -> bool:
    """Return whether the run failed; after its rollback everything is as before."""
    cloud = FailingHosts()
    put(cloud, name, start)
    before = state_of(cloud)
    cloud.fail(failure)
    report = Runner(cloud.connect).run(DeploymentAPI(Inventory()).deploy_plan(design(name)))
    cloud.fail(None)
    back = Runner(cloud.connect).run(report.rollback(), keep_going=True)
    assert [str(result.error) for result in back.failures] == []
    assert state_of(cloud) == before
    return report.error is not None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
@example(("internet", Start({1001: TAPS}, {}, router=False, folders=False, flows=0, rules=0, in_use=False),
          FailingCommand("10.0.10.1", 12, lost=False, done=False)))  # fmt: skip
def test_a_failed_run_takes_back_exactly_what_it_made(case: tuple[str, Start, FailingCommand]) -> None:
    rolled_back(*case)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("host", Inventory().hosts)
def test_a_vm_that_cannot_be_added_costs_its_neighbours_nothing(host: str, lost: bool, done: bool) -> None:
    """Two of three VMs run, with their links; each command of the third one's start fails in turn."""
    vms = {1001: NOTHING, 1002: RUNNING, 1003: RUNNING}
    start = Start(vms, {100: RUNNING, 101: RUNNING}, router=True, folders=True, flows=9, rules=1, in_use=True)
    failed = [rolled_back("line", start, FailingCommand(host, number, lost, done)) for number in range(1, 30)]
    assert any(failed)
    assert not failed[-1]

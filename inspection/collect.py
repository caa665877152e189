"""Plan the collection of facts: one read-only step per host, one round trip, few processes. Pure: runs nothing.

`inspector.py` runs the plan. Each command may fail alone: a host without Open vSwitch still has processes and files. A
command that finds nothing succeeds. So a failed command means that a part of the host could not be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from allocation.measuring import RESOURCES, measure
from core.inventory import Inventory
from core.names import dhcp_namespace
from machines import qmp
from network import checks, tunnel
from remote.plan import Command, Plan, Stage, Step
from shell.scripts import load
from vlan_manager import PROGRAMS as NETWORK_PROGRAMS
from vm_launcher import CAPTURE_PROGRAM
from vm_launcher import PROGRAMS as WORKER_PROGRAMS

ANY = tuple(range(256))
"""All exit statuses: a failed command must not end the step."""

PROGRAM = r"^(.*/)?(qemu-(system-[a-z0-9_]+|kvm)|dnsmasq)$"
MARK = r"^(slice[0-9]+-vm[0-9]+|--pid-file=/run/ns-dhcp-vlan[0-9]+/pid)$"
"""Words of a command line by which a process of ours is found."""

_LIST_PROCESSES = load("collect/list-processes")
_LIST_STATES = load("collect/list-states")
_LIST_DISKS = load("collect/list-disks")
_LIST_FILES = load("collect/list-files")
_LIST_MARKS = load("collect/list-marks")
_LIST_NAMESPACES = load("collect/list-namespaces")
_LIST_DHCP_FILTER = load("collect/list-dhcp-filter")
_LIST_FORWARDING = load("collect/list-forwarding")
_LIST_STACK = load("collect/list-stack")
_LIST_LOGS = load("collect/list-logs")
_LIST_BOUNDS = load("collect/list-bounds")
_LIST_LIMITS = load("collect/list-limits")
_LIST_SNAPSHOTS = load("collect/list-snapshots")
_LIST_TUNNEL = load("collect/list-tunnel")
_LIST_PROGRAMS = load("collect/list-programs")


_PORTS = (
    *("ovs-vsctl", "--timeout=5", "--format=json"),
    *("--columns=name,ports,fail_mode,other_config,external_ids", "list", "Bridge"),
    *("--", "--columns=_uuid,name,tag,trunks,vlan_mode,protected,interfaces", "list", "Port"),
    *("--", "--columns=_uuid,name,type,ofport,error,external_ids,options", "list", "Interface"),
    *("--", "--columns=external_ids", "list", "QoS"),
)


def programs_of(inventory: Inventory, host: str) -> list[str]:
    """Return the programs that a host needs, for deployments or, on a worker, for captures."""
    on_worker = (*WORKER_PROGRAMS, CAPTURE_PROGRAM) if host in inventory.workers else ()
    return sorted({*on_worker, *(NETWORK_PROGRAMS if host == inventory.network_node else ())})


def commands(inventory: Inventory, host: str, *, thorough: bool = False) -> dict[str, Command]:
    """Return the commands for a host, by the names under which `parse.parse_answers` reads their answers.

    They give the facts to compare a slice with the host. `thorough` adds the facts for operators.
    """
    images, shared = inventory.hypervisor.images_path, dhcp_namespace(inventory.internet.vlan_id)
    asked = {
        "ports": _PORTS,
        "flows": ("ovs-ofctl", "--timeout=5", "--no-stats", "--names", "dump-flows", inventory.bridge),
        "devices": ("ip", "-j", "-d", "addr"),  # only with details it shows the alias, our mark
        "processes": _LIST_PROCESSES.argv(PROGRAM, MARK),
    }
    if inventory.tunnel:
        asked["tunnel"] = _LIST_TUNNEL.argv(inventory.tunnel.bridge, str(tunnel.LEARNED))
    if host in inventory.workers:
        asked["files"] = _LIST_FILES.argv(images)
    if host == inventory.network_node:
        asked |= {
            "marks": _LIST_MARKS.argv(),
            "namespaces": _LIST_NAMESPACES.argv(shared, "thorough" if thorough else ""),
            "rules": ("iptables-save",),
            "filter": _LIST_DHCP_FILTER.argv(shared),
            "forwarding": _LIST_FORWARDING.argv(*checks.barrier_words(inventory)),
            "routes": ("ip", "-4", "-o", "route", "show"),
        }
    if thorough and host == inventory.network_node:
        asked |= {
            "logs": _LIST_LOGS.argv(),
            "bounds": _LIST_BOUNDS.argv(),
            "limits": _LIST_LIMITS.argv(),
            "peers": checks.list_peers(inventory),
        }
    if thorough:
        asked |= {
            **({"learned": ("ovs-appctl", "--timeout=5", "fdb/show", inventory.bridge)} if inventory.realms else {}),
            "stack": _LIST_STACK.argv(),
            "disks": _LIST_DISKS.argv(PROGRAM, MARK),
            "programs": _LIST_PROGRAMS.argv(*programs_of(inventory, host)),
        }
        if host in inventory.workers:
            asked["snapshots"] = _LIST_SNAPSHOTS.argv(images)
            asked["drops"] = ("nft", "list", "ruleset", "inet")
            asked["states"] = (*qmp.within(qmp.SECONDS), *_LIST_STATES.argv(images))
    users = {"files", "snapshots", "states"}
    found = {name: Command(argv, ok=ANY, as_user=name in users, name=name) for name, argv in asked.items()}
    return found | ({RESOURCES: replace(measure(images), ok=ANY)} if thorough else {})


def collection_plan(inventory: Inventory, hosts: Iterable[str], *, thorough: bool = False) -> Plan:
    """Return the plan that collects the facts of the hosts, side by side."""
    steps = (
        Step(host, "collect facts", tuple(commands(inventory, host, thorough=thorough).values()))
        for host in dict.fromkeys(hosts)
    )
    seconds = inventory.ssh.timeouts.read_only
    return Plan((Stage("collect", tuple(steps)),), timeout=seconds, deadline=seconds, repeatable=True)

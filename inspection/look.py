"""The look at a host: one read-only step, one round trip, few processes. Pure: returns plans.

Every command may fail and the rest is still read: a host without Open vSwitch has processes and files all the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from inventory import Inventory
from names import dhcp_namespace
from remote import ovs
from remote.plan import Command, Plan, Stage, Step

PATIENCE_SECONDS = 10.0
"""Whoever waits for a look is at the menu."""

ANY = tuple(range(256))
"""A command that fails is an observation too."""

PROGRAM = r"^(.*/)?(qemu-(system-[a-z0-9_]+|kvm)|dnsmasq)$"
MARK = r"^(slice[0-9]+-vm[0-9]+|--pid-file=/run/ns-dhcp-vlan[0-9]+/pid)$"
"""Words of a command line that make a process worth a look."""

# One grep finds the processes, one reads their command lines, one find their open disks.
_PROCESSES = r"""set -- $(grep -lazE -e "$1" -e "$2" /proc/[0-9]*/cmdline 2>/dev/null)
[ $# -gt 0 ] || exit 0
grep -azH '' "$@" 2>/dev/null | tr '\n\000' ' \n'
echo
for file; do shift; set -- "$@" "${file%/cmdline}/fd"; done
find "$@" -maxdepth 1 -lname '/*' ! -lname '/dev/*' ! -lname '/proc/*' -printf '%h %l\n' 2>/dev/null"""

_FILES = r"""find "$1/" -mindepth 1 -maxdepth 2 -printf '%y %s %T@ %P\n' 2>/dev/null
echo
grep -sH '' "$1"/slice-*/*.pid "$1"/.*.seal"""

_MARKS = """ls -d /run/ns-*
echo
grep -sH '' /run/ns-*/pid /run/ns-*/hosts/*"""

_NAMESPACES = r"""for path in /run/netns/ns-*; do
  [ -e "$path" ] || continue
  echo "namespace ${path##*/}"
  nsenter --net="$path" sh -c 'read -r routes </proc/sys/net/ipv4/ip_forward; echo "$routes"; ip -j addr; echo
    exec ss -Hlun "sport = :67"'
done"""

_ROOM = r"""folder=$1; [ -d "$folder" ] || folder=.
df --output=avail -k "$folder" | tail -n 1
sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo"""

_TOOLS = """for tool; do
  command -v "$tool" >/dev/null || { echo "$tool"; continue; }
  case $tool in
    dnsmasq | ovs-vsctl | qemu-system-x86_64) echo "$tool $("$tool" --version 2>/dev/null | head -n 1)";;
    *) echo "$tool there";;
  esac
done"""

_PORTS = (
    *("ovs-vsctl", "--timeout=5", "--format=json"),
    *("--columns=name,ports", "list", "Bridge"),
    *("--", "--columns=_uuid,name,tag,trunks,vlan_mode,protected,interfaces", "list", "Port"),
    *("--", "--columns=_uuid,name,type,ofport,error,external_ids", "list", "Interface"),
)


def commands(inventory: Inventory, host: str, tools: tuple[str, ...] = ()) -> dict[str, Command]:
    """What is asked of a host, by the name under which the answer is read; with `tools` also which programs it has."""
    asked = {
        "clock": ("date", "+%s.%N"),
        "switch": ("ovs-appctl", "--timeout=5", "version"),
        "ports": _PORTS,
        "flows": ("ovs-ofctl", "--timeout=5", "--no-stats", "--names", "dump-flows", ovs.BRIDGE),
        "devices": ("ip", "-j", "-d", "addr"),
        "processes": ("sh", "-c", _PROCESSES, "sh", PROGRAM, MARK),
        "room": ("sh", "-c", _ROOM, "sh", inventory.hypervisor.images_path),
    }
    if host in inventory.workers_list:
        asked["files"] = ("sh", "-c", _FILES, "sh", inventory.hypervisor.images_path)
    if host == inventory.network_node:
        shared = dhcp_namespace(inventory.internet.vlan_id)
        asked |= {
            "marks": ("sh", "-c", _MARKS),
            "namespaces": ("sh", "-c", _NAMESPACES),
            "rules": ("iptables-save",),
            "heard": ("ip", "netns", "exec", shared, "iptables-save", "-t", "filter"),
            "forwarding": ("cat", "/proc/sys/net/ipv4/ip_forward"),
            "near": ("ip", "-4", "-o", "route", "show", "dev", inventory.internet.uplink, "scope", "link"),
        }
    if tools:
        asked["tools"] = ("sh", "-c", _TOOLS, "sh", *tools)
    as_user = {"files", "room"}
    return {name: Command(argv, ok=ANY, as_user=name in as_user) for name, argv in asked.items()}


def look_plan(inventory: Inventory, hosts: Iterable[str], tools: dict[str, tuple[str, ...]] | None = None) -> Plan:
    """A look at each of the hosts, side by side."""
    steps = (
        Step(host, "what is there", tuple(commands(inventory, host, (tools or {}).get(host, ())).values()))
        for host in dict.fromkeys(hosts)
    )
    return Plan((Stage("look", tuple(steps)),), patience=PATIENCE_SECONDS)

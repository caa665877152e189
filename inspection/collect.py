"""Plan the collection of facts: one read-only step per host, one round trip, few processes. Pure.

Each command may fail alone: a host without Open vSwitch still has processes and files. A command that finds nothing
succeeds, so a failed command means that a part of the host could not be read.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.inventory import Inventory
from core.names import dhcp_namespace
from network import checks, ovs
from network.dhcp import OUR_LOGS
from remote.plan import Command, Plan, Stage, Step
from vlan_manager import TOOLS as NETWORK_TOOLS
from vm_launcher import TOOLS as WORKER_TOOLS

ANY = tuple(range(256))
"""All exit statuses: a failed command must not end the step."""

PROGRAM = r"^(.*/)?(qemu-(system-[a-z0-9_]+|kvm)|dnsmasq)$"
MARK = r"^(slice[0-9]+-vm[0-9]+|--pid-file=/run/ns-dhcp-vlan[0-9]+/pid)$"
"""Words of a command line by which a process of ours is found."""

# One grep finds the processes, another one reads their command lines: a line each, its words separated by \037.
_FOUND = r"""set -- $(grep -lazE -e "$1" -e "$2" /proc/[0-9]*/cmdline 2>/dev/null)
[ $# -gt 0 ] || exit 0
"""
_PROCESSES = rf"""{_FOUND}grep -aH '' "$@" 2>/dev/null | tr '\000' '\037'"""
_DISKS = rf"""{_FOUND}for file; do shift; set -- "$@" "${{file%/cmdline}}/fd"; done
find "$@" -maxdepth 1 -lname '/*' ! -lname '/dev/*' ! -lname '/proc/*' -printf '%h %l\n' 2>/dev/null
exit 0"""

_FILES = r"""[ -e "$1" ] || exit 0
[ -r "$1" ] || exit
find "$1/" -mindepth 1 -maxdepth 2 -printf '%y %s %T@ %P\n' 2>/dev/null
echo
grep -sH '' "$1"/slice-*/*.pid "$1"/.*.seal
exit 0"""

_MARKS = """for folder in /run/ns-*; do [ ! -d "$folder" ] || echo "$folder"; done
echo
grep -sH '' /run/ns-*/pid /run/ns-*/hosts/*
for file in /run/ns-*/hosts/*; do [ ! -f "$file" ] || [ -s "$file" ] || echo "$file:"; done
exit 0"""

# /proc/pid/net (proc(5)) shows the network of a namespace without a process started in there. It is enough if the
# DHCP server is in its namespace and younger than ovs-vswitchd: then its interface is the one it opened. /proc shows no
# MACs, which matter on the shared VLAN only. It shows no addresses without a network, which only the isolation proof
# needs. A server has one device, so the table of devices is opened only if the table of networks is empty.
_NAMESPACES = r"""shared=$1 thorough=$2
facts='
  FNR == 1 { kind = FILENAME; sub(".*/", "", kind) }
  kind == "dev" && sub(":.*", "") { print "in", name, "device", $1 }
  kind == "route" && $3 == "00000000" { print "in", name, "network", $2, $8, $1; wired[name] = 1 }
  kind == "fib_trie" && FNR == 1 && !(name in wired) {
    table = FILENAME; sub("fib_trie$", "dev", table)
    while ((getline device <table) > 0) if (sub(":.*", "", device)) print "in", name, "device", device
  }
  kind == "fib_trie" && $1 == "|--" { address = $2 }
  kind == "fib_trie" && $1 == "/32" && $3 == "LOCAL" { print "in", name, "address", address }
  kind == "ip_forward" && $1 == 1 { print "in", name, "routes" }'
set --
for path in /run/netns/ns-*; do
  [ -e "$path" ] || continue
  name=${path##*/} pid=
  read -r pid 2>/dev/null <"/run/$name/pid"
  case $thorough$name in
    ns-gw-*) nsenter --net="$path" awk "$facts" "name=$name" \
      /proc/net/dev /proc/net/route /proc/net/fib_trie /proc/sys/net/ipv4/ip_forward || exit;;
    *)
      if [ ! "$thorough" ] && [ "$name" != "$shared" ] && [ "/proc/$pid/ns/net" -ef "$path" ] &&
        [ "/run/$name/pid" -nt /run/openvswitch/ovs-vswitchd.pid ]; then
        set -- "$@" "name=$name" "/proc/$pid/net/route" "/proc/$pid/net/fib_trie"
      else
        echo "namespace $name"
        nsenter --net="$path" sh -c 'read -r line </proc/sys/net/ipv4/ip_forward
          for each in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
            off=1; [ ! -e "$each" ] || read -r off <"$each"
            [ "$off" = 1 ] || { each=${each%/*}; line="$line ${each##*/}"; }
          done
          echo "$line"
          ip -j addr && exec ss -Hlun "sport = :67"' || exit
      fi;;
  esac
done
[ $# -eq 0 ] || exec awk "$facts" "$@"
""".rstrip()

_FILTER = '[ ! -e "/run/netns/$1" ] || exec nsenter --net="/run/netns/$1" iptables-save -t filter'

# This file of the kernel gives one byte, then its end: `read` of sh(1) fails, but `on` is set.
FORWARDING = f"""on=; read -r on </proc/sys/net/ipv4/ip_forward; echo "$on"
{checks.LIST_BARRIERS}"""

# The host's own IP stack on guests' devices: settings, neighbours, routes, and the sockets of programs.
_STACK = r"""ipv6=/proc/sys/net/ipv6/conf ipv4=/proc/sys/net/ipv4/conf
for path in /sys/class/net/*; do
  name=${path##*/}
  case $name in tap_* | gw_vlan* | dhcp_v*) ;; *) continue;; esac
  off=1; [ ! -e "$ipv6/$name" ] || read -r off <"$ipv6/$name/disable_ipv6"
  filter=; read -r filter <"$ipv4/$name/rp_filter"
  echo "device $name $off $filter"
done
{ ip -o neigh show && ip -4 -o route show table all && ip -6 -o route show table all; } | sed 's/^/way /'
ss -Hltnp | sed 's/^/socket /'"""

_ROOM = r"""folder=$1; [ -d "$folder" ] || folder=.
df --output=avail -k "$folder" | tail -n 1
sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo"""

# Only names of our logs: other users can put any number of files into /tmp.
_LOGS = rf"""find /tmp -maxdepth 1 -regextype posix-extended -regex '/tmp/dnsmasq_vlan[0-9]{{1,4}}\.log' \
  \( \( {OUR_LOGS} \) -printf 'ours %f\n' -o -printf 'foreign %f\n' \)"""

# -t leaves out the addresses known now, so that the text can be compared with `neighbours.listing`.
_BOUNDS = """for path in /run/netns/ns-*; do
  [ -e "$path" ] || continue
  echo "namespace ${path##*/}"; nsenter --net="$path" nft -t list ruleset || exit
done"""

_LIMITS = """cat /proc/sys/net/ipv4/neigh/default/gc_thresh3 2>/dev/null || echo 0
cd /proc/sys/net/netfilter 2>/dev/null && cat nf_conntrack_max nf_conntrack_tcp_timeout_time_wait
exit 0"""

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


def tools_of(inventory: Inventory, host: str) -> list[str]:
    """Return the programs that a host needs."""
    on_worker = WORKER_TOOLS if host in inventory.workers_list else ()
    return sorted({*on_worker, *(NETWORK_TOOLS if host == inventory.network_node else ())})


def commands(inventory: Inventory, host: str, *, thorough: bool = False) -> dict[str, Command]:
    """Return the commands for a host, by the names under which `parse.parse_answers` reads their answers.

    They give the facts to compare a slice with the host. `thorough` adds the facts for operators.
    """
    images, shared = inventory.hypervisor.images_path, dhcp_namespace(inventory.internet.vlan_id)
    asked = {
        "ports": _PORTS,
        "flows": ("ovs-ofctl", "--timeout=5", "--no-stats", "--names", "dump-flows", ovs.BRIDGE),
        "devices": ("ip", "-j", "-d", "addr"),  # only with details it shows the alias, our mark
        "processes": ("sh", "-c", _PROCESSES, "sh", PROGRAM, MARK),
    }
    if host in inventory.workers_list:
        asked["files"] = ("sh", "-c", _FILES, "sh", images)
    if host == inventory.network_node:
        asked |= {
            "marks": ("sh", "-c", _MARKS),
            "namespaces": ("sh", "-c", _NAMESPACES, "sh", shared, "thorough" if thorough else ""),
            "rules": ("iptables-save",),
            "filter": ("sh", "-c", _FILTER, "sh", shared),
            "forwarding": ("sh", "-c", FORWARDING, "sh", *checks.barrier_words(inventory)),
            "routes": ("ip", "-4", "-o", "route", "show"),
        }
    if thorough and host == inventory.network_node:
        asked |= {
            "logs": ("sh", "-c", _LOGS),
            "bounds": ("sh", "-c", _BOUNDS),
            "limits": ("sh", "-c", _LIMITS),
            "peers": checks.list_peers(inventory),
        }
    if thorough:
        asked |= {
            "clock": ("date", "+%s.%N"),
            "stack": ("sh", "-c", _STACK),
            "disks": ("sh", "-c", _DISKS, "sh", PROGRAM, MARK),
            "room": ("sh", "-c", _ROOM, "sh", images),
            "tools": ("sh", "-c", _TOOLS, "sh", *tools_of(inventory, host)),
        }
        if host in inventory.workers_list:
            asked["drops"] = ("nft", "list", "ruleset", "inet")
    as_user = {"files", "room"}
    return {name: Command(argv, ok=ANY, as_user=name in as_user) for name, argv in asked.items()}


def collection_plan(inventory: Inventory, hosts: Iterable[str], *, thorough: bool = False) -> Plan:
    """Return the plan that collects the facts of the hosts, side by side."""
    steps = (
        Step(host, "collect facts", tuple(commands(inventory, host, thorough=thorough).values()))
        for host in dict.fromkeys(hosts)
    )
    seconds = inventory.ssh.timeouts.look
    return Plan((Stage("collect", tuple(steps)),), timeout=seconds, deadline=seconds, repeatable=True)

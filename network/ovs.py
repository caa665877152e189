"""Ports of the Open vSwitch bridge br-int: added and read back many at once, for each `ovs-vsctl` takes its time.

A port without a tag carries every VLAN, so a port is never there without one: port, tag and mark are one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from remote.plan import Command

BRIDGE = "br-int"
OWNER = "cloud-repositorio"

# A port that hangs on a dead ovs-vswitchd would wait for ever.
_VSCTL = ("ovs-vsctl", "--timeout=20")

# A port that is in the database alone carries nothing: ovs-vswitchd has given a number to those that it has opened. It
# sees by itself when the device of a port comes back, a moment later.
_CARRY_TAGS = """newline='
'
for try in 1 2 3 4 5 6 7 8 9 10; do
  ports=$(ovs-vsctl --timeout=20 --format=csv --no-headings \\
    --columns=name,tag,protected,trunks,vlan_mode list Port -- --columns=ofport,name list Interface) || exit
  closed=
  for wanted; do
    case "$newline$ports$newline" in
      *"$newline$wanted,[],[]$newline"* | *"$newline$wanted,[],access$newline"*) ;;
      *) echo "port ${wanted%%,*} is not on the bridge with just tag and protection ${wanted#*,}" >&2; exit 1;;
    esac
    case "$newline$ports$newline" in
      *"$newline-1,${wanted%%,*}$newline"* | *"$newline[],${wanted%%,*}$newline"*) closed=${wanted%%,*};;
    esac
  done
  [ "$closed" ] || exit 0
  sleep 0.2
done
echo "port $closed is not opened by ovs-vswitchd: is its device there?" >&2; exit 1"""

_LIST_OURS = (
    f"ovs-vsctl --timeout=20 --format=csv --no-headings --columns=name find Interface external_ids:owner={OWNER}"
)

# The switch takes some 15 ms to let go of a port. A device of the host's own goes with its port, so it is waited for.
_REMOVE = f"""how=$1; shift
ours=$({_LIST_OURS}) || exit
for port; do
  shift
  case " $(echo $ours) " in *" $port "*) set -- "$@" -- --if-exists del-port {BRIDGE} "$port";; esac
done
[ $# -eq 0 ] || ovs-vsctl --timeout=20 $how "$@"
""".rstrip()

# Ours by their names alone, and then all with their types.
_ARE_OURS = f"""newline='
'
found=$newline$({_LIST_OURS} -- --columns=name,type list Interface)$newline || exit
for port; do
  case $found in
    *"$newline$port$newline"*) ;;
    *"$newline$port,"*) echo "a port $port is there that is not ours; remove it or give it another name" >&2; exit 1;;
  esac
done"""

FORGOTTEN = (
    "is there already, of a slice that database.yaml does not know (was an older version put back?); have the operator "
    "remove it with: python3 cli.py doctor --fix"
)

_ARE_FREE = f"""there=$(ovs-vsctl --timeout=20 --format=csv --no-headings --columns=name list Interface) || exit
for port; do
  case " $(echo $there) " in *" $port "*) echo "port $port {FORGOTTEN}" >&2; exit 1;; esac
done"""

# What differs is told with its cookie, in either direction; other slices' flows differ too (ovs-ofctl(8), diff-flows).
_HAVE_FLOWS = f"""cookie=$1; shift
differing=$(printf '%s\\n' "$@" | ovs-ofctl --timeout=20 --names diff-flows {BRIDGE} /dev/stdin)
case $? in 0 | 2) ;; *) exit 1;; esac
case $differing in *"cookie=$cookie "*) echo "the flows of $cookie are not those that were made" >&2; exit 1;; esac"""


@dataclass(frozen=True)
class Port:
    """A port on br-int. `internal`: an interface of the host itself; otherwise a device that is there already.

    `protected`: nothing goes from it to another protected port, whatever the switch has learned or forgotten.
    """

    name: str
    tag: int
    marks: tuple[tuple[str, str], ...] = ()
    internal: bool = False
    protected: bool = False


def add_ports(ports: Sequence[Port]) -> Command:
    """Adds the ports in one transaction, unless all of them are there with their tags and nothing else."""
    argv: list[str] = [*_VSCTL]
    for number, port in enumerate(ports):
        argv += ["--"] * (number > 0)
        # `--may-exist` leaves the tag of a port that is there as it is.
        settings = [f"tag={port.tag}", f"protected={_truth(port.protected)}"]
        argv += ["--may-exist", "add-port", BRIDGE, port.name, *settings]
        argv += ["--", "set", "Port", port.name, *settings, "trunks=[]", "vlan_mode=[]"]
        argv += ["--", "set", "Interface", port.name]
        argv += ["type=internal"] * port.internal
        argv += [f"external_ids:{key}={value}" for key, value in (("owner", OWNER), *port.marks)]
    return Command(tuple(argv), unless=carry_tags(ports))


def remove_ports(ports: Sequence[Port]) -> Command:
    """Removes those of the ports that carry our mark, in one transaction; waits until internal ones are gone."""
    how = "" if any(port.internal for port in ports) else "--no-wait"
    return Command(("sh", "-c", _REMOVE, "sh", how, *(port.name for port in ports)))


def are_ours(ports: Sequence[Port]) -> tuple[str, ...]:
    """Succeeds when those of the ports that are there carry our mark; otherwise says which does not."""
    return ("sh", "-c", _ARE_OURS, "sh", *(port.name for port in ports))


def are_free(ports: Sequence[Port]) -> tuple[str, ...]:
    """Succeeds when none of the ports is there; otherwise says which is."""
    return ("sh", "-c", _ARE_FREE, "sh", *(port.name for port in ports))


def add_flows(cookie: str, flows: Sequence[str]) -> Command:
    """Makes these the only flows marked with `cookie`, in one transaction, unless they are (ovs-ofctl(8), --bundle)."""
    lines = "\n".join((f"delete cookie={cookie}/-1", *(f"add {flow}" for flow in _marked(cookie, flows))))
    argv = ("ovs-ofctl", "--timeout=20", "--bundle", "add-flows", BRIDGE, "-")
    return Command(argv, lines, unless=have_flows(cookie, flows))


def remove_flows(cookie: str) -> Command:
    """Removes the flows that are marked with `cookie`."""
    return Command(("ovs-ofctl", "--timeout=20", "del-flows", BRIDGE, f"cookie={cookie}/-1"))


def have_flows(cookie: str, flows: Sequence[str]) -> tuple[str, ...]:
    """Succeeds when these and no others are marked with `cookie`; they are lost when ovs-vswitchd starts anew."""
    return ("sh", "-c", _HAVE_FLOWS, "sh", cookie, *_marked(cookie, flows))


def carry_tags(ports: Sequence[Port]) -> tuple[str, ...]:
    """Succeeds when all ports are there with their tags and carry no further VLAN, protected or not; or says which."""
    wanted = (f"{port.name},{port.tag},{_truth(port.protected)}" for port in ports)
    return ("sh", "-c", _CARRY_TAGS, "sh", *wanted)


def _marked(cookie: str, flows: Sequence[str]) -> Iterator[str]:
    return (f"cookie={cookie},{flow}" for flow in flows)


def _truth(value: bool) -> str:
    return "true" if value else "false"

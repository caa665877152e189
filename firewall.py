"""What the network node lets pass between the internet VLAN and the rest of the world (spec/networking.txt, DESIGN 5).

All slices share these rules, each marked with our comment. They stand before all others of their chains, in the order
in which they are written here and as `iptables-save` shows them. What is missing or in the wrong place is mended by
putting all of them there anew, in one transaction per table, so that nothing is open for a moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inventory import Inventory
from names import gateway_port
from remote import ovs
from remote.plan import Command

NEAR = "NEAR"
"""Stands for each network that the uplink itself is in; the host knows which these are."""

TABLES = ("nat", "filter")

MOST_CONNECTIONS = 1000
"""Of one guest at a time: with all 240 guests the kernel's table (nf_conntrack_max, 262,144) is not full."""

_TOO_MANY = (
    "-m conntrack --ctstate NEW "
    f"-m connlimit --connlimit-above {MOST_CONNECTIONS} --connlimit-mask 32 --connlimit-saddr"
)

# A rule that is not there is looked for, which changes nothing. What it says of a match is in the first of its lines.
_HAS_MATCHES = r"""said=$(iptables -C INPUT -m u32 --u32 0=0 -m connlimit --connlimit-above 1 \
  -m conntrack --ctstate NEW -m mac --mac-source 02:00:00:00:00:00 -m addrtype ! --src-type LOCAL \
  -m comment --comment none -j DROP 2>&1)
case $said in
  *"load match"* | *"kernel module"*)
    echo "iptables cannot do what keeps guests apart; install its extensions and the kernel's modules of that name" \
      "(${said%%"
"*})" >&2; exit 1;;
esac"""

_FUNCTIONS = r"""owner=$1 uplink=$2; shift 2
wanted() {
  for rule; do
    case $rule in
      *NEAR*)
        for near in $(ip -4 -o route show dev "$uplink" scope link | cut -d ' ' -f 1); do
          case $near in default) continue;; */*) ;; *) near=$near/32;; esac
          echo "${rule%%NEAR*}$near${rule#*NEAR}"
        done;;
      *) echo "$rule";;
    esac
  done
}
found() {
  for table in nat filter; do
    iptables-save -t "$table" | tr -d '"' | sed -n "s/^-A \(.* --comment $owner .*\)/$table -A \1/p"
  done
}
# The rules of each chain up to the last one of ours, and those that strangers have put before it.
standing() {
  for table in nat filter; do
    iptables-save -t "$table" | tr -d '"' | grep '^-A ' | tac |
      awk -v mark=" --comment $owner " -v table="$table" \
        'index($0, mark) { ours[$2] = 1 } ours[$2] { print table, $0 }' | tac
  done
}
"""

_ARE_THERE = f"""{_FUNCTIONS}
[ "$(wanted "$@")" = "$(standing)" ]"""

_APPLY = rf"""{_FUNCTIONS}
for table in nat filter; do
  [ $# -gt 0 ] || found | grep -q "^$table " || continue
  {{
    echo "*$table"
    found | sed -n "s/^$table -A /-D /p"
    wanted "$@" | sed -n "s/^$table -A /-I /p" | tac
    echo COMMIT
  }} | iptables-restore -w 10 --noflush || exit
done"""


@dataclass(frozen=True)
class Rule:
    """One rule of ours; `match` and `target` as `iptables-save` writes them."""

    table: str
    chain: str
    match: str
    target: str

    @property
    def text(self) -> str:
        """Table and rule, with our mark."""
        return f"{self.table} -A {self.chain} {self.match} -m comment --comment {ovs.OWNER} -j {self.target}"


def rules(inventory: Inventory) -> tuple[Rule, ...]:
    """All of them, chain by chain, each chain in the order in which its rules are asked.

    Guests get out to the internet, each with so many connections at a time, and answers come back; they reach neither
    this node nor the cloud's own hosts; of the networks that the uplink itself is in they reach the name server only,
    if it is there.
    """
    return (*_nat(inventory), *_input(inventory), *_forward(inventory))


def _nat(inventory: Inventory) -> Iterator[Rule]:
    internet = inventory.internet
    yield Rule("nat", "POSTROUTING", f"-s {internet.network} -o {internet.uplink}", "MASQUERADE")


def _input(inventory: Inventory) -> Iterator[Rule]:
    inside = gateway_port(inventory.internet.vlan_id)
    ping = "-p icmp -m icmp --icmp-type 8"
    yield Rule("filter", "INPUT", _forged(inventory), "DROP")
    yield Rule("filter", "INPUT", f"-i {inside} {_TOO_MANY}", "DROP")
    yield Rule("filter", "INPUT", f"-d {inventory.internet.gateway}/32 -i {inside} {ping}", "ACCEPT")
    yield Rule("filter", "INPUT", f"-i {inside}", "DROP")


def _forged(inventory: Inventory) -> str:
    """Match what says that it comes from a guest, and came by another interface than the guests' gateway."""
    internet = inventory.internet
    return f"-s {internet.network} ! -i {gateway_port(internet.vlan_id)} -m addrtype ! --src-type LOCAL"


def _forward(inventory: Inventory) -> Iterator[Rule]:
    internet = inventory.internet
    inside, uplink = gateway_port(internet.vlan_id), internet.uplink
    yield Rule("filter", "FORWARD", _forged(inventory), "DROP")
    yield Rule("filter", "FORWARD", f"-i {inside} {_TOO_MANY}", "DROP")
    for protocol in ("tcp", "udp"):
        match = f"-d {internet.dns}/32 -i {inside} -o {uplink} -p {protocol} -m {protocol} --dport 53"
        yield Rule("filter", "FORWARD", match, "ACCEPT")
    yield Rule("filter", "FORWARD", f"-d {NEAR} -i {inside}", "DROP")
    for host in inventory.hosts:
        yield Rule("filter", "FORWARD", f"-d {host}/32 -i {inside}", "DROP")
    yield Rule("filter", "FORWARD", f"-i {inside} -o {uplink}", "ACCEPT")
    answers = f"-i {uplink} -o {inside} -m conntrack --ctstate RELATED,ESTABLISHED"
    yield Rule("filter", "FORWARD", answers, "ACCEPT")
    yield Rule("filter", "FORWARD", f"-i {inside}", "DROP")
    yield Rule("filter", "FORWARD", f"-o {inside}", "DROP")


def has_matches() -> Command:
    """Read-only: iptables and the kernel know the matches of these rules and of those in `walls.py`."""
    return Command(("sh", "-c", _HAS_MATCHES))


def put_up(inventory: Inventory) -> Command:
    """All of our rules, in their order and in front of others, unless that is so."""
    words = (ovs.OWNER, inventory.internet.uplink, *(rule.text for rule in rules(inventory)))
    return Command(("sh", "-c", _APPLY, "sh", *words), unless=("sh", "-c", _ARE_THERE, "sh", *words))


def take_down() -> Command:
    """None of our rules: whatever carries our mark, for the hosts it names may have been others when it was made."""
    return Command(("sh", "-c", _APPLY, "sh", ovs.OWNER, ""))

"""The firewall of the network node between the internet VLAN and the rest of the world (docs/spec/networking.md).

All slices share these rules, each marked with our comment. They precede all other rules of their chains, in the order
of this module and of `iptables-save`. A missing or misplaced rule is repaired by replacing all of them, in one
transaction per table: no moment is left without rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.inventory import Inventory
from core.names import gateway_port
from network import ovs
from remote.plan import Command
from shell.scripts import load

NEAR = "NEAR"
"""A placeholder for each network of the uplink itself; the host fills it in."""

TABLES = ("mangle", "nat", "filter")

AT_ONCE = 400
"""Maximum number of open connections of a guest.

connlimit does not count connections in TIME_WAIT, which the kernel keeps.
"""

NEW_PER_SECOND, NEW_BURST = 3, 100
"""Maximum rate of a guest's new connections.

It bounds the closed ones, too: the kernel forgets them after 120 s.
"""

# The kernel forgets a silent source after this time, and with it the used part of its burst. The name contains the
# limits, because a rule with a known name takes over the limits of the earlier rule.
_EXPIRE_MS = 60_000
_NAME = f"guests-{NEW_PER_SECOND}-{NEW_BURST}"

_UNKNOWN = "-m conntrack ! --ctstatus CONFIRMED"  # not in the table yet: matches once per connection, for any protocol
_TOO_FAST = (
    f"{_UNKNOWN} -m hashlimit --hashlimit-above {NEW_PER_SECOND}/sec --hashlimit-burst {NEW_BURST} "
    f"--hashlimit-mode srcip --hashlimit-name {_NAME} --hashlimit-htable-expire {_EXPIRE_MS}"
)
_TOO_MANY = f"{_UNKNOWN} -m connlimit --connlimit-above {AT_ONCE} --connlimit-mask 32 --connlimit-saddr"

SPECIAL = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4"),
)
"""Private, link-local, shared, reserved and multicast networks (RFC 1918, 5771, 6890): the site's own."""

_CHECK_MATCHES = load("firewall/check-matches")
_CHECK_CONNECTION_ROOM = load("firewall/check-connection-room")
_RULES_ARE_THERE = load("firewall/rules-are-there")
_APPLY_RULES = load("firewall/apply-rules")


@dataclass(frozen=True)
class FirewallRule:
    """One rule of ours; `match` and `target` are in the form of `iptables-save`."""

    table: str
    chain: str
    match: str
    target: str

    @property
    def text(self) -> str:
        """Return table and rule, with our mark."""
        return f"{self.table} -A {' '.join(self.words)}"

    @property
    def words(self) -> tuple[str, ...]:
        """Return the words of iptables(8) after -A or -C, in the table that is its default."""
        return (self.chain, *self.match.split(), "-m", "comment", "--comment", ovs.OWNER, "-j", self.target)


def rules(inventory: Inventory) -> tuple[FirewallRule, ...]:
    """Return all rules, chain by chain, each chain in the order of evaluation.

    Guests reach the internet with a bounded number of connections, and answers come back. They reach neither this node
    nor the cloud's own hosts; they answer this node where it began. Of the site's networks they reach the name server
    only, and the networks of `internet: allow`.
    """
    return (*_bounds(inventory), *_nat(inventory), *_input(inventory), *_forward(inventory))


def _bounds(inventory: Inventory) -> Iterator[FirewallRule]:
    """Yield the bounds of each guest's entries in the kernel's table of connections, for any destination."""
    internet = inventory.internet
    inside = gateway_port(internet.vlan_id)
    yield FirewallRule("mangle", "PREROUTING", f"! -s {internet.network} -i {inside}", "DROP")
    for too_much in (_TOO_FAST, _TOO_MANY):
        yield FirewallRule("mangle", "PREROUTING", f"-s {internet.network} -i {inside} {too_much}", "DROP")


def _nat(inventory: Inventory) -> Iterator[FirewallRule]:
    internet = inventory.internet
    yield FirewallRule("nat", "POSTROUTING", f"-s {internet.network} -o {internet.uplink}", "MASQUERADE")


def _input(inventory: Inventory) -> Iterator[FirewallRule]:
    inside = gateway_port(inventory.internet.vlan_id)
    ping = "-p icmp -m icmp --icmp-type 8"
    yield FirewallRule("filter", "INPUT", _forged(inventory), "DROP")
    yield FirewallRule("filter", "INPUT", f"-d {inventory.internet.gateway}/32 -i {inside} {ping}", "ACCEPT")
    yield answers_of_guests(inventory)
    yield FirewallRule("filter", "INPUT", f"-i {inside}", "DROP")


def answers_of_guests(inventory: Inventory) -> FirewallRule:
    """Return the rule that lets guests answer in connections that this node itself began (`remote.port`)."""
    internet = inventory.internet
    answer = "-p tcp -m conntrack --ctstate ESTABLISHED --ctdir REPLY"
    match = f"-d {internet.gateway}/32 -i {gateway_port(internet.vlan_id)} {answer}"
    return FirewallRule("filter", "INPUT", match, "ACCEPT")


def _forged(inventory: Inventory) -> str:
    """Return the match for packets with a guest's address that arrive at another interface than the guests' gateway."""
    internet = inventory.internet
    return f"-s {internet.network} ! -i {gateway_port(internet.vlan_id)} -m addrtype ! --src-type LOCAL"


def _forward(inventory: Inventory) -> Iterator[FirewallRule]:
    internet = inventory.internet
    inside, uplink = gateway_port(internet.vlan_id), internet.uplink
    yield FirewallRule("filter", "FORWARD", _forged(inventory), "DROP")
    for protocol in ("tcp", "udp"):
        match = f"-d {internet.dns}/32 -i {inside} -o {uplink} -p {protocol} -m {protocol} --dport 53"
        yield FirewallRule("filter", "FORWARD", match, "ACCEPT")
    for address in inventory.all_addresses:
        yield FirewallRule("filter", "FORWARD", f"-d {address}/32 -i {inside}", "DROP")
    for network in internet.allow:
        yield FirewallRule("filter", "FORWARD", f"-d {network} -i {inside} -o {uplink}", "ACCEPT")
    for network in (NEAR, *SPECIAL):
        yield FirewallRule("filter", "FORWARD", f"-d {network} -i {inside}", "DROP")
    yield FirewallRule("filter", "FORWARD", f"-i {inside} -o {uplink}", "ACCEPT")
    answers = f"-i {uplink} -o {inside} -m conntrack --ctstate RELATED,ESTABLISHED"
    yield FirewallRule("filter", "FORWARD", answers, "ACCEPT")
    yield FirewallRule("filter", "FORWARD", f"-i {inside}", "DROP")
    yield FirewallRule("filter", "FORWARD", f"-o {inside}", "DROP")


def check_matches() -> Command:
    """Check, read-only, that iptables and the kernel know the matches of all rules here and in `port_security`."""
    return Command(_CHECK_MATCHES.argv())


def most_connections(closed_seconds: int) -> int:
    """Return the maximum entries of one guest in the kernel's table, where closed ones stay for this time."""
    return AT_ONCE + NEW_BURST + NEW_PER_SECOND * closed_seconds


def check_room(folder: str, own: str, guests: int) -> Command:
    """Check, read-only, that all guests together cannot fill the kernel's table of connections.

    `folder` holds the reservations of all slices, one file each; `own` is the file of the slice, which has this number
    of `guests`.
    """
    words = (folder, own, str(guests), str(AT_ONCE), str(NEW_BURST), str(NEW_PER_SECOND))
    return Command(_CHECK_CONNECTION_ROOM.argv(*words))


def put_up(inventory: Inventory) -> Command:
    """Set all of our rules, in their order and before other rules, unless they are set."""
    words = (ovs.OWNER, inventory.internet.uplink, *(rule.text for rule in rules(inventory)))
    return Command(_APPLY_RULES.argv(*words), unless=_RULES_ARE_THERE.argv(*words))


def take_down() -> Command:
    """Remove every rule with our mark, since older rules may name other hosts."""
    return Command(_APPLY_RULES.argv(ovs.OWNER, ""))

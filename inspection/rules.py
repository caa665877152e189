"""Our rules of iptables on the network node, as they have to be and as they were seen. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from core.inventory import Inventory
from inspection.facts import Facts
from models import Slice
from network import firewall, ovs, port_security


def wanted_rules(inventory: Inventory, facts: Facts) -> list[str]:
    """Our rules as the network node shows them when all is well."""
    expanded = []
    for rule in firewall.rules(inventory):
        networks = facts.linked_networks(inventory.internet.uplink) if firewall.NEAR in rule.text else ("",)
        expanded += [rule.text.replace(firewall.NEAR, network) for network in networks]
    return expanded


def our_rules(facts: Facts) -> list[str]:
    """The rules with our mark, table by table as in `wanted_rules`."""
    return _by_table(rule for rule in facts.rules if f"--comment {ovs.OWNER} " in rule)


def standing_rules(facts: Facts) -> list[str]:
    """The rules of each chain up to the last one of ours, and so those that others have put before it."""
    ours = set(our_rules(facts))
    standing: list[str] = []
    chains: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for rule in facts.rules:
        chains[tuple(rule.split(maxsplit=3)[:3])].append(rule)
    for rules in chains.values():
        last = max((number for number, rule in enumerate(rules) if rule in ours), default=-1)
        standing += rules[: last + 1]
    return _by_table(standing)


def _by_table(rules: Iterable[str]) -> list[str]:
    """Sort rules in the order of our tables; others, of which we make none, come last."""
    order = {table: number for number, table in enumerate(firewall.TABLES)}
    return sorted(rules, key=lambda rule: order.get(rule.partition(" ")[0], len(order)))


def dhcp_filter_of(slice_: Slice, facts: Facts) -> list[str]:
    """Return what the shared DHCP server hears of the slice: the policy, the way into its chain, and its rules."""
    chain = port_security.chain(slice_.slice_id)
    return [
        line
        for line in facts.dhcp_filter
        if line in {":input drop", f"-a input -j {chain}"} or line.startswith(f"-a {chain} ")
    ]

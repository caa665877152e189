"""Compare our rules of iptables on the network node: the wanted ones and the present ones. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from core.inventory import Inventory
from inspection.facts import Facts
from models import Slice
from network import firewall, ovs, port_security


def wanted_rules(inventory: Inventory, facts: Facts) -> list[str]:
    """Return the wanted rules in the form of `Facts.rules`."""
    expanded = []
    for rule in firewall.rules(inventory):
        networks = facts.linked_networks(inventory.internet.uplink) if firewall.NEAR in rule.text else ("",)
        expanded += [rule.text.replace(firewall.NEAR, network) for network in networks]
    return expanded


def our_rules(facts: Facts) -> list[str]:
    """Return the present rules with our mark, in the order of tables of `wanted_rules`."""
    return _by_table(rule for rule in facts.rules if f"--comment {ovs.OWNER} " in rule)


def leading_rules(facts: Facts) -> list[str]:
    """Return the present rules of each chain up to our last one, with foreign rules between ours."""
    ours = set(our_rules(facts))
    leading: list[str] = []
    chains: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for rule in facts.rules:
        chains[tuple(rule.split(maxsplit=3)[:3])].append(rule)
    for rules in chains.values():
        last = max((number for number, rule in enumerate(rules) if rule in ours), default=-1)
        leading += rules[: last + 1]
    return _by_table(leading)


def _by_table(rules: Iterable[str]) -> list[str]:
    """Sort rules in the order of our tables. Foreign tables come last."""
    order = {table: number for number, table in enumerate(firewall.TABLES)}
    return sorted(rules, key=lambda rule: order.get(rule.partition(" ")[0], len(order)))


def dhcp_filter_of(slice_: Slice, facts: Facts) -> list[str]:
    """Return the DHCP filter of the slice: the policy, the jump to the slice's chain, and its rules."""
    chain = port_security.chain(slice_.slice_id)
    return [
        line
        for line in facts.dhcp_filter
        if line in {":input drop", f"-a input -j {chain}"} or line.startswith(f"-a {chain} ")
    ]

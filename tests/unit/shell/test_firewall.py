"""The rules of the internet VLAN, put up and taken down by real iptables in a network namespace of the test."""

from __future__ import annotations

import pytest

from core.inventory import Inventory
from network import firewall
from tests.support.own_host import OwnHost

RULES = [rule.text for rule in firewall.rules(Inventory())]
FOREIGN = "iptables -A FORWARD -s 192.0.2.1/32 -j ACCEPT; iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE"
SPLIT = "filter -A INPUT -i gw_vlan400 -m comment --comment cloud-repositorio -j DROP"


@pytest.fixture(autouse=True)
def uplink(host: OwnHost) -> None:
    host.do("ip link add ens3 type veth peer name far; ip addr add 10.0.10.3/24 dev ens3; ip link set ens3 up")


def is_up(host: OwnHost) -> bool:
    return host.run(firewall.put_up(Inventory()).unless).returncode == 0


def put_up(host: OwnHost) -> None:
    done = host.run(firewall.put_up(Inventory()).argv)
    assert (done.returncode, done.stderr) == (0, "")


def rules(host: OwnHost) -> list[str]:
    """Return the rules of the host, as those of the product are written."""
    found, table = [], ""
    for line in host.do("iptables-save").splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A "):
            found.append(f"{table} {line}".replace('"', ""))
    return found


def test_rules_are_put_up_in_their_order_before_others(host: OwnHost) -> None:
    host.do(FOREIGN)
    foreign = rules(host)
    assert not is_up(host)
    put_up(host)
    assert is_up(host)
    for chain in ("mangle -A PREROUTING", "nat -A POSTROUTING", "filter -A INPUT", "filter -A FORWARD"):
        wanted = [rule.replace("NEAR", "10.0.10.0/24") for rule in RULES if rule.startswith(chain)]
        others = [rule for rule in foreign if rule.startswith(chain)]
        assert [rule for rule in rules(host) if rule.startswith(chain)] == wanted + others


@pytest.mark.parametrize(
    "harm",
    [
        "iptables -D FORWARD 3",
        "iptables -I FORWARD -s 192.0.2.9/32 -j ACCEPT",
        "iptables -t nat -F",
        "iptables -t mangle -D PREROUTING 1; iptables -A INPUT -j ACCEPT",
        "ip addr add 10.9.9.1/24 dev ens3",
    ],
)
def test_what_was_changed_by_hand_is_repaired(host: OwnHost, harm: str) -> None:
    put_up(host)
    host.do(harm)
    assert not is_up(host)
    put_up(host)
    assert is_up(host)
    assert len([rule for rule in rules(host) if "--comment cloud-repositorio" in rule]) == len(RULES) + (
        "ip addr" in harm
    )


def test_only_rules_of_ours_are_taken_down(host: OwnHost) -> None:
    host.do(FOREIGN)
    foreign = rules(host)
    put_up(host)
    for _ in range(2):
        done = host.run(firewall.take_down().argv)
        assert (done.returncode, done.stderr) == (0, "")
        assert rules(host) == foreign


def test_nothing_is_changed_where_one_rule_is_refused(host: OwnHost) -> None:
    """All tables are one run of iptables-restore, and each of them one transaction."""
    host.do(FOREIGN)
    before = rules(host)
    done = host.script("firewall/apply-rules", "cloud-repositorio", "ens3", SPLIT, f"{SPLIT} --no-such-option")
    assert done.returncode != 0
    assert "no-such-option" in done.stderr
    assert rules(host) == before


def test_without_rules_of_ours_iptables_restore_is_not_called(host: OwnHost) -> None:
    host.program("iptables-restore", "exit 1")
    assert host.run(firewall.take_down().argv).returncode == 0
    assert host.calls() == []

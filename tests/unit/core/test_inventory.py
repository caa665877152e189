"""The settings: each default keeps its rule, and the section `in_use` names settings that exist."""

from __future__ import annotations

import pytest

from core.inventory import (
    IN_USE,
    ConsoleSettings,
    HypervisorSettings,
    ImportSettings,
    InternetSettings,
    Inventory,
    LoginSettings,
    SSHSettings,
    Timeouts,
    Worker,
)
from core.records import Recorded

CLASSES: tuple[type[Recorded], ...] = (
    *(Inventory, SSHSettings, Timeouts, HypervisorSettings, InternetSettings),
    *(LoginSettings, ConsoleSettings, ImportSettings, Worker),
)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_default_keeps_its_rule(kind: type[Recorded]) -> None:
    assert kind.KEYS
    for each in kind.KEYS.values():
        each.rule(each.plain)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_key_may_be_missing(kind: type[Recorded]) -> None:
    assert not kind.rule().required
    assert kind.from_dict({}) == kind.from_dict(kind().to_dict()) == kind()


def test_the_settings_in_use_are_those_of_the_inventory() -> None:
    ssh, hypervisor = SSHSettings(user="cloud"), HypervisorSettings(images_dir="/srv/vms")
    internet = InternetSettings(500, "172.20.0.0/24", "172.20.0.1", "eno1")
    assert Inventory(network_node="10.0.20.9", ssh=ssh, hypervisor=hypervisor, internet=internet).in_use == {
        "network_node": "10.0.20.9",
        "ssh_user": "cloud",
        "images_dir": "/srv/vms",
        "vlan_id": 500,
        "cidr": "172.20.0.0/24",
        "gateway": "172.20.0.1",
        "uplink": "eno1",
    }
    assert [*Inventory(underlay="tunnel").in_use] == [*IN_USE]

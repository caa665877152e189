"""Parts of public topologies of netlab: groups that make nodes, links in VLANs and bundles, ways out."""

from __future__ import annotations

import pytest

from tests.unit.topology.test_imports import FLAVORS
from topology.design import Design
from topology.imports.convert import convert
from topology.reader import read


def converted(text: str) -> tuple[Design, list[str]]:
    written, notices = convert(text, FLAVORS)
    return read(written), notices


def ends_of(design: Design) -> list[str]:
    return ["-".join(end.vm for end in link.ends) for link in design.links]


def flavors_of(design: Design) -> dict[str, str]:
    return {vm.name: vm.flavor for vm in design.vms}


@pytest.mark.parametrize(
    ("links", "ends"),
    [
        ("{core: [a-b, b-c], edge: c-a}", ["a-b", "b-c", "c-a"]),
        ("{core: [{a: , b: }], lan: {a: , b: , c: }}", ["a-b", "a-b-c"]),
        ("[{lag: {members: [a-b, b-a]}}]", ["a-b", "b-a"]),
        ("[{lag.members: [a-b, {a: , c: }]}, b-c]", ["a-b", "a-c", "b-c"]),
    ],
)
def test_links_in_groups_and_bundles_are_links(links: str, ends: list[str]) -> None:
    design, _ = converted(f"nodes: [a, b, c]\nlinks: {links}\n")
    assert ends_of(design) == ends


def test_a_node_without_a_name_is_no_bridge_of_every_link() -> None:
    design, _ = converted('nodes: {a: , b: , "": }\nlinks: [{a: , b: , mtu: 1500}]\n')
    assert ends_of(design) == ["a-b"]


def test_a_bundle_of_links_is_said_to_be_single_links() -> None:
    _, notices = converted("nodes: [a, b]\nlinks: [{lag: {members: [a-b], mlag.peergroup: 1}, vlan.access: red}]\n")
    assert notices == ["left out: `lag` of links", "left out: `vlan` of links"]


def test_nodes_that_a_bundle_of_links_names_are_no_keys_that_are_left_out() -> None:
    design, notices = converted("nodes: [a, b]\nlinks: [{a: , b: {mtu: 9}, lag: {members: [a-b, a-b]}}]\n")
    assert ends_of(design) == ["a-b", "a-b"]
    assert notices == ["left out: `lag` of links", "left out: settings of interfaces"]


def test_a_link_on_a_bridge_that_is_a_node_joins_each_end_with_that_node() -> None:
    nodes = "nodes: {a: , b: , c: , br: {role: bridge}}"
    design, notices = converted(f"{nodes}\nlinks: [{{a: , b: , c: , bridge: br}}, {{a: , b: , bridge: br0}}]\n")
    assert ends_of(design) == ["a-br", "b-br", "c-br", "a-b"]
    assert notices == ["left out: `role` of nodes", "left out: `bridge` of links"]


@pytest.mark.parametrize("area", ["vlans", "vrfs"])
def test_links_of_a_vlan_or_vrf_are_links(area: str) -> None:
    text = f"nodes: [a, b, c]\n{area}:\n  red:\n    links: [a-b, {{interfaces: [b, c]}}]\n  blue:\nlinks: [a-c]\n"
    design, notices = converted(text)
    assert ends_of(design) == ["a-c", "a-b", "b-c"]
    assert notices == [f"left out: `{area}`"]


@pytest.mark.parametrize(
    ("groups", "flavors"),
    [
        ("{_auto_create: true, g: {members: [a, b], device: nokia_srlinux}}", {"a": "router", "b": "router"}),
        ("{g: {_auto_create: True, members: [a]}, h: {members: [b]}}", {"a": "cirros"}),
        ("{_auto_create: yes, g: [a, h], h: [b]}", {"a": "cirros", "b": "cirros"}),
    ],
)
def test_groups_make_nodes_of_their_members(groups: str, flavors: dict[str, str]) -> None:
    assert flavors_of(converted(f"groups: {groups}\n")[0]) == flavors


def test_default_groups_make_nodes_too() -> None:
    design, _ = converted("defaults.groups: {g: {_auto_create: true, members: [a]}}\ngroups: {h: [a]}\n")
    assert flavors_of(design) == {"a": "cirros"}


def test_a_group_gives_its_device_to_the_members_of_groups_in_it_and_the_nearest_group_wins() -> None:
    groups = "{all: {members: [inner, c], device: x}, inner: {members: [a, b], device: nokia_srlinux}}"
    design, notices = converted(f"nodes: [a, b, c]\ngroups: {groups}\n")
    assert flavors_of(design) == {"a": "router", "b": "router", "c": "cirros"}
    assert not [notice for notice in notices if "members" in notice]


def test_groups_within_each_other_end() -> None:
    design, _ = converted("nodes: [a]\ngroups: {g: {members: [h, a]}, h: {members: [g], device: nokia_srlinux}}\n")
    assert flavors_of(design) == {"a": "router"}


@pytest.mark.parametrize(
    ("attributes", "internet"),
    [
        ("clab.uplink: ens3", True),
        ("libvirt: {public: True}", True),
        ("libvirt.uplink: eth0", True),
        ("libvirt.public: false", False),
        ("type: stub", False),
    ],
)
def test_a_link_with_an_uplink_leads_out(attributes: str, internet: bool) -> None:
    design, notices = converted(f"nodes: [a, b]\nlinks: [a-b, {{a: , {attributes}}}]\n")
    assert [vm.internet for vm in design.vms] == [internet, False]
    assert not internet or notices == []


def test_other_settings_of_a_provider_are_left_out_and_said() -> None:
    _, notices = converted("nodes: [a, b]\nlinks: [{a: , b: , clab: {uplink: x, name: y}}]\n")
    assert notices == ["left out: `clab` of links"]


@pytest.mark.parametrize(
    ("attributes", "impairments", "notices"),
    [
        ("tc: {delay: 20ms, jitter: 5, loss: 2}", {"delay": "20ms", "jitter": "5ms", "loss": "2%"}, []),
        ("tc: {delay: 1.5s, rate: 2000}, bandwidth: 9", {"delay": "1500ms", "rate": "2000kbit"}, []),
        ("tc.rate: 100, tc.corrupt: 1", {"rate": "100kbit"}, ["left out: `corrupt` of impaired links"]),
        ("tc.delay: soon", {}, ["left out: `delay` of links that is not 0.000001 to 60000 ms"]),
        ("tc: slow", {}, ["left out: `tc` of links"]),
    ],
)
def test_impairments_of_a_link_are_kept(attributes: str, impairments: dict[str, str], notices: list[str]) -> None:
    design, said = converted(f"nodes: [a, b]\nlinks: [{{a: , b: , {attributes}}}]\n")
    assert {name: {*ends.values()} for name, ends in design.links[0].impairments.items()} == {
        name: {value} for name, value in impairments.items()
    }
    assert said == notices


@pytest.mark.parametrize("kind", ["tunnel", "loopback"])
def test_a_tunnel_or_loopback_is_no_wire(kind: str) -> None:
    design, notices = converted(f"nodes: [a, b]\nlinks: [{{a: , b: , type: {kind}}}, {{a: , b: , type: lan}}]\n")
    assert ends_of(design) == ["a-b"]
    assert notices == [f"left out: links of the type {kind}"]


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("nodes: [a, b]\nlinks: [{a: , b: , name: a core link}]\n", "`name` of links"),
        ("nodes: {a: {id: 7}}\n", "`id` of nodes"),
        ("nodes: [a]\ndefaults: {device: x, outputs: [a]}\n", "`defaults`"),
        ("nodes: [a]\ndefaults: other.yml\n", "`defaults`"),
    ],
)
def test_what_has_no_counterpart_is_said(text: str, notice: str) -> None:
    assert f"left out: {notice}" in converted(text)[1]


def test_a_node_that_stands_for_a_component_is_no_vm() -> None:
    design, notices = converted("nodes: {a: , pod: {include: x}}\ncomponents: {x: {nodes: [b]}}\n")
    assert flavors_of(design) == {"a": "cirros"}
    assert notices == ["left out: nodes made of components", "left out: `components`"]

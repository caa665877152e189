"""Topologies of other tools: the result for each part, and foreign files, of which none is run or fails."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from core.errors import Refused
from core.flavors import Flavor
from tests.support.paths import DATA
from tests.support.scale import scaled
from tests.unit.topology.test_reader import mutated
from topology.design import End
from topology.imports.builder import LONGEST_COMMENT, Flavors, ForeignSize
from topology.imports.convert import convert
from topology.reader import read

FLAVORS = Flavors(
    {"cirros": ForeignSize(1, 0.25), "ubuntu": ForeignSize(1, 2), "router": ForeignSize(2, 2)},
    {"nokia_srlinux": "router"},
    "cirros",
)
_PATHS = sorted((DATA / "imports").glob("*"))
FILES = {path.name: path.read_text(encoding="utf-8") for path in _PATHS if path.suffix != ".expected"}
TOOLS = {
    "ring.clab.yml": "containerlab",
    "square.netlab.yml": "netlab",
    "lab.cml.yaml": "cml",
    "office.gns3": "gns3",
    "lab.conf": "kathara",
}


def expected(name: str) -> Path:
    return DATA / "imports" / f"{name}.expected"


def converted(name: str, tool: str = "") -> str:
    text, notices = convert(FILES[name], FLAVORS, tool)
    return "".join([text, *(f"! {notice}\n" for notice in notices)])


@pytest.mark.parametrize("name", TOOLS)
def test_a_file_of_each_tool_becomes_what_stands_beside_it(name: str) -> None:
    assert converted(name) == expected(name).read_text(encoding="utf-8")
    assert converted(name, TOOLS[name]) == converted(name)
    assert {TOOLS[name] for name in FILES} == {*TOOLS.values()}


@pytest.mark.parametrize("name", TOOLS)
def test_what_is_converted_is_a_valid_slice_file_and_its_comments_are_short(name: str) -> None:
    text, _ = convert(FILES[name], FLAVORS)
    assert read(text, dict.fromkeys(FLAVORS.sizes, Flavor())).links
    comments = [line for line in text.splitlines() if line.startswith("# left out")]
    assert comments
    assert all(line.isascii() and len(line) <= LONGEST_COMMENT + 2 for line in comments)


@pytest.mark.parametrize(
    ("text", "tool", "words"),
    [
        ("", "", "line 1: the file is empty"),
        ("# a lab\n\n", "cml", "line 1: the file is empty or has only comments; give the file of a topology"),
        (" \n", "gns3", "line 1: the file is empty or has only comments; give the file of a topology"),
        ("a: 1\n", "netlab", "this is not a topology of netlab; leave --from out, or name the right tool"),
        ("{}", "gns3", "this is not a project of GNS3; leave --from out, or name the right tool"),
        ("{}", "", "this is not a project of GNS3; say where it comes from with --from"),
        ("a: 1\n", "", "no topology of containerlab, netlab, cml, gns3, kathara"),
        ("[1, 2]", "containerlab", "this is not a topology of containerlab"),
        ('{"revision": 4, "topology": {}}', "", "not of revision 9 or 10; open it in GNS3 2.2"),
        ('{"revision": 9, "topology": {}}', "", "has no node that could become a VM"),
        ("{", "", "line 1: this is not JSON"),
        ("[" * 100_000, "gns3", "nested more than 30 deep"),
        ("name: x\ntopology: {nodes: {a: !!python/name:os.system x}}", "", "line 2: tags such as"),
        ("nodes: [" + ", ".join(f"r{number}" for number in range(1001)) + "]", "netlab", "more than 1000 nodes"),
        ("", "kathara", "has no node that could become a VM"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(text: str, tool: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        convert(text, FLAVORS, tool)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def nested(anchors: int) -> str:
    """Return a topology in which each anchor nests the one before it deeper."""
    lines = ["nodes: [r1]", "x0: &x0 [1]"]
    lines += [f"x{each}: &x{each} {'[' * 20}*x{each - 1}{']' * 20}" for each in range(1, anchors)]
    return "\n".join(lines)


def test_anchors_within_anchors_nest_no_deeper_than_the_bound() -> None:
    with pytest.raises(Refused, match=r"^line 4: values are nested more than 30 deep, anchors included$"):
        convert(nested(90), FLAVORS, "netlab")


def test_a_topology_that_no_slice_file_can_hold_is_refused_without_a_line_of_our_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("topology.imports.convert.write", lambda design: f"slice: {design.name}\nvms: {{}}\nx: 1\n")
    with pytest.raises(Refused, match=r"^this topology cannot become a slice file: [^\n]+$") as caught:
        convert("nodes: [r1]", FLAVORS, "netlab")
    assert "line" not in str(caught.value)


def lab(conditions: str) -> str:
    nodes = ", ".join(f"{{id: {name}, label: {name}, node_definition: x}}" for name in ("a", "b"))
    return f"lab: {{title: t}}\nnodes: [{nodes}]\nlinks: [{{id: l, n1: a, n2: b, conditioning: {{{conditions}}}}}]\n"


def project(filters: object) -> str:
    nodes = [{"node_id": name, "name": name, "node_type": "qemu"} for name in ("a", "b")]
    link = {"link_id": "l", "filters": filters, "nodes": [{"node_id": "a"}, {"node_id": "b"}]}
    return json.dumps({"revision": 9, "topology": {"nodes": nodes, "links": [link]}})


def square(bandwidth: str) -> str:
    return f"nodes: [r1, r2]\nlinks: [{{r1: , r2: , bandwidth: {bandwidth}}}]\n"


LEFT_OUT = {
    "rate": "left out: `rate` of links that is not 1 to 100000000 kbit",
    "delay": "left out: `delay` of links that is not 0.000001 to 60000 ms",
    "jitter": "left out: `jitter` of links that is not 0.000001 to 60000 ms",
    "loss": "left out: `loss` of links that is not 0.000001 to 100 %",
}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (lab("bandwidth: 1000000, latency: 10"), {"rate": "1000000kbit", "delay": "10ms"}),
        (
            lab("bandwidth: 1e8, latency: 60000, loss: 100"),
            {"rate": "100000000kbit", "delay": "60000ms", "loss": "100%"},
        ),
        (lab("bandwidth: 1000000, enabled: false"), {}),
        (project({"delay": [12345.6789, 0.0000015]}), {"delay": "12345.6789ms", "jitter": "0.000002ms"}),
        (project({"packet_loss": [0.00001], "delay": [0, 0]}), {"loss": "0.00001%"}),
        (project({"packet_loss": 2, "delay": 20}), {"delay": "20ms", "loss": "2%"}),
        (square("1000000"), {"rate": "1000000kbit"}),
        (square("0"), {}),
    ],
)
def test_an_impairment_is_a_plain_decimal(text: str, written: dict[str, str]) -> None:
    found, notices = convert(text, FLAVORS)
    (link,) = read(found).links
    assert {name: {*ends.values()} for name, ends in link.impairments.items()} == {
        name: {value} for name, value in written.items()
    }
    assert not {*notices} & {*LEFT_OUT.values()}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (lab("bandwidth: 100000001, latency: 60001, jitter: 60000.1, loss: 100.1"), [*LEFT_OUT]),
        (lab("bandwidth: 1e400, latency: nan, jitter: -1, loss: much"), [*LEFT_OUT]),
        (project({"delay": [1e9, 1e9], "packet_loss": [1e-9]}), ["delay", "jitter", "loss"]),
        (square("0.4"), ["rate"]),
        (square("10m"), ["rate"]),
        (square("[1]"), ["rate"]),
    ],
)
def test_an_impairment_out_of_bounds_is_left_out_and_said(text: str, names: list[str]) -> None:
    found, notices = convert(text, FLAVORS)
    assert not read(found).links[0].impairments
    assert [notice for notice in notices if notice in LEFT_OUT.values()] == [LEFT_OUT[name] for name in names]


@pytest.mark.parametrize(
    ("text", "notices"),
    [
        ("nodes: [r1, r2]\nlinks: [{r1: , r2: , ospf.cost: 10, foo: 1}]", ["`foo` of links", "`ospf` of links"]),
        ("nodes: [r1, r2]\nlinks: [{r1: , r2: , r9: }]", ["`r9` of links"]),
        ("nodes: [r1, r2]\nlinks: [{r1.ipv4: 10.0.0.1/24, r2: }]", ["settings of interfaces"]),
        ("nodes: [r1, r2]\nlinks: [{interfaces: [{node: r1, mtu: 9}, r2]}]", ["settings of interfaces"]),
        ("nodes: [r1, r2]\nlinks: [{group: g, mtu: 9, members: [r1-r2]}]", ["`mtu` of groups of links"]),
        ("nodes: [r1, r2]\nlinks: [r1-r2]\ngroups: {g: {members: [r1, r9]}}", ["members of groups that are no nodes"]),
        ("nodes: [r1, r2]\nlinks: [r1-r2]\ngroups: {g: {members: [r1], module: [x]}}", ["`module` of groups"]),
        ("nodes: [r1, r2]\nlinks: [r1-r2]\ngroups: {all: {device: frr}}", ["groups without members"]),
    ],
)
def test_keys_of_netlab_that_are_not_kept_are_left_out_and_said(text: str, notices: list[str]) -> None:
    found, said = convert(text, FLAVORS, "netlab")
    assert read(found).links[0].ends == (End("r1", 1), End("r2", 1))
    assert said == [f"left out: {notice}" for notice in notices]


def flavors_of(text: str) -> dict[str, str]:
    return {vm.name: vm.flavor for vm in read(convert(text, FLAVORS)[0]).vms}


def test_dotted_keys_and_groups_of_netlab_give_nodes_their_device() -> None:
    assert flavors_of("defaults.device: nokia_srlinux\nnodes: [r1]") == {"r1": "router"}
    assert flavors_of("defaults: {x: 1}\ndefaults.device: nokia_srlinux\nnodes: [r1]") == {"r1": "router"}
    groups = "groups: {hosts: {members: [h1, h2], device: nokia_srlinux}, names: [r1]}"
    assert flavors_of(f"nodes: {{r1: , h1: , h2: {{device: x}}}}\n{groups}") == {
        "r1": "cirros",
        "h1": "router",
        "h2": "cirros",
    }


def test_a_key_of_many_dots_is_unfolded_no_deeper_than_a_bound() -> None:
    text, notices = convert(f"nodes: [r1]\n? {'a.' * 100_000}b\n: 1\n", FLAVORS, "netlab")
    assert read(text).vms
    assert notices == ["left out: `a`"]


@pytest.mark.parametrize(
    "links",
    [
        '[["a:eth1", "b:eth1"]]',
        '[{endpoint: ["a:eth1", "b:eth1"]}]',
        '{endpoints: ["a:eth1", "b:eth1"]}',
    ],
)
def test_a_plain_link_of_containerlab_is_read_however_it_is_written(links: str) -> None:
    text, notices = convert(f"topology: {{nodes: {{a: , b: }}, links: {links}}}", FLAVORS)
    assert read(text).links[0].ends == (End("a", 1), End("b", 1))
    assert notices == []


@pytest.mark.parametrize("links", ["{a: b}", "[a-b]", "[{type: veth}]", "word"])
def test_another_link_of_containerlab_is_left_out_and_said(links: str) -> None:
    text, notices = convert(f"topology: {{nodes: {{a: , b: }}, links: {links}}}", FLAVORS)
    assert not read(text).links
    assert notices == ["left out: links without `endpoints`"]


def test_merge_keys_are_merged_as_yaml_does() -> None:
    nodes = "r1: &r {kind: nokia_srlinux}\n    r2: {<<: *r}\n    r3: {kind: x, <<: *r}\n    r4: {<<: [{kind: x}, *r]}"
    assert flavors_of(f"topology:\n  nodes:\n    {nodes}\n") == {
        "r1": "router",
        "r2": "router",
        "r3": "cirros",
        "r4": "cirros",
    }


@pytest.mark.parametrize("name", TOOLS)
def test_a_byte_order_mark_is_dropped(name: str) -> None:
    assert convert(f"\ufeff{FILES[name]}", FLAVORS) == convert(FILES[name], FLAVORS)


def test_notes_of_a_lab_are_left_out_and_said() -> None:
    assert "left out: `notes`" in convert(lab("").replace("title: t", "title: t, notes: hi"), FLAVORS)[1]


def test_a_wire_to_the_internet_through_a_switch_is_no_link_that_was_left_out() -> None:
    links = 'links: [{endpoints: ["a:eth1", "sw:eth1"]}, {endpoints: ["sw:eth2", "host:x"]}]'
    text, notices = convert(f"topology: {{nodes: {{a: , sw: {{kind: bridge}}}}, {links}}}", FLAVORS)
    assert read(text).vms[0].internet
    assert notices == []


def test_an_eleventh_interface_is_left_out_and_said() -> None:
    links = ", ".join(["r1-r2"] * 11)
    text, notices = convert(f"nodes: [r1, r2]\nlinks: [{links}]", FLAVORS, "netlab")
    assert len(read(text).links) == 10
    assert "left out: interfaces above 10 of a node" in notices


def test_a_flavor_is_that_of_the_table_else_the_smallest_that_has_the_size() -> None:
    assert FLAVORS.choose("nokia_srlinux", ForeignSize(1, 0.1)) == "router"
    assert FLAVORS.choose("x", ForeignSize(0, 1)) == "ubuntu"
    assert FLAVORS.choose("x", ForeignSize(8, 1)) == "cirros"
    assert FLAVORS.choose("x", ForeignSize()) == "cirros"


def test_words_of_the_file_reach_no_terminal_as_they_are() -> None:
    evil = "x\x1b[2J\n# y: \u202e"
    document = {"name": evil, "topology": {"nodes": {evil: {"kind": evil, evil: evil}, "b": {}}, "links": []}}
    text, notices = convert(json.dumps(document), FLAVORS, "containerlab")
    assert all(line.isprintable() for line in [*text.splitlines(), *notices])


@pytest.mark.torture
def test_every_foreign_file_is_read_or_refused_with_a_sentence() -> None:
    """Mutated files of each tool, 100 of each; in the long version 10,000."""
    for name, text in FILES.items():
        for number in range(scaled(100, 10_000)):
            chance = random.Random(f"{name} {number}")
            try:
                found, notices = convert(mutated(text, chance), FLAVORS, TOOLS[name] if chance.random() < 0.5 else "")
            except Refused as refusal:
                notices, found = [str(refusal)], ""
            assert not any("cannot become a slice file" in notice for notice in notices), (name, number)
            assert all(line.isprintable() for line in [*found.splitlines(), *notices]), (name, number)

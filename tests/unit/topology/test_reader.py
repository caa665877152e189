"""Slice files: what they mean, all faults at once, and that no file ends in anything but a sentence."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from core.flavors import Devices, Flavor
from tests.support.paths import DATA, ROOT
from tests.support.scale import scaled
from topology.design import DesignedLink, DesignedVM, End, Seed
from topology.document import MAX_NODES
from topology.faults import BadSliceFile
from topology.reader import read
from topology.writer import write

FLAVORS = Flavor.built_in()
TRIANGLE = (DATA / "triangle.slice.yaml").read_text(encoding="utf-8")


def bad_files() -> Iterator[Any]:
    for block in (DATA / "bad_slice_files.txt").read_text(encoding="utf-8").split("\n== ")[1:]:
        name, *lines = block.rstrip().splitlines()
        text = "".join(f"{line}\n" for line in lines if not line.startswith("! "))
        yield pytest.param(text, [line[2:] for line in lines if line.startswith("! ")], id=name)


@pytest.mark.parametrize(("text", "sentences"), list(bad_files()))
def test_all_faults_are_named_at_once(text: str, sentences: list[str]) -> None:
    with pytest.raises(BadSliceFile) as caught:
        read(text, FLAVORS)
    found = str(caught.value).splitlines()
    assert len(found) == len(sentences), found
    for said, sentence in zip(found, sentences, strict=True):
        assert said == sentence or (sentence.endswith("...") and said.startswith(sentence[:-3]))


def test_the_example_means_what_it_says() -> None:
    design = read(TRIANGLE)
    assert (design.name, design.description) == ("triangle", "Three routers and a client")
    assert design.vms == (
        DesignedVM("r1", "router", 4),
        DesignedVM("r2", "router", 4),
        DesignedVM("r3", "router", 4),
        DesignedVM("pc", "debian", 2, True, Seed("apt-get install -y iperf3\n", {"packages": ["frr"]}), "manual"),
    )
    assert design.links == (
        DesignedLink((End("r1", 1), End("r2", 1))),
        DesignedLink((End("r1", 3), End("r3", 1))),
        DesignedLink((End("r1", 2), End("r2", 2), End("pc", 1))),
        DesignedLink(
            (End("r2", 3), End("r3", 2)),
            "core",
            "none",
            IPv4Network("10.1.2.0/30"),
            {"r2": IPv4Address("10.1.2.1"), "r3": IPv4Address("10.1.2.2")},
            {"rate": {"r2": "10mbit", "r3": "10mbit"}, "delay": {"r3": "20ms"}},
            transparent=True,
        ),
    )
    assert design.link_names() == ["r1-r2", "r1-r3", "lan1", "core"]
    assert [(goal.name, goal.check, goal.within) for goal in design.goals] == [
        ("up", "booted", 90),
        ("address", "lease", 60),
        ("neighbours", "sees", 15),
        ("path", "ping", 60),
        ("web", "tcp", 60),
        ("page", "http", 300),
        ("name", "dns", 60),
        ("wall", "refuses", 60),
        ("routes", "run", 60),
    ]


def test_the_examples_of_the_page_are_valid() -> None:
    page = (ROOT / "docs/slice-files.md").read_text(encoding="utf-8")
    examples = [text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if text.startswith("slice:")]
    assert [len(read(text, FLAVORS).links) for text in examples] == [2, 0, 4]


def test_names_are_the_text_that_stands_there() -> None:
    """YAML makes `on` a bool and `y` in some readers as well."""
    design = read("slice: no\nvms: {on: y, y: null}\nlinks: [on - y]\n")
    assert design.name == "no"
    assert [(vm.name, vm.flavor) for vm in design.vms] == [("on", "y"), ("y", "null")]


def test_named_interfaces_of_the_whole_file_are_taken_first() -> None:
    design = read("slice: a\nvms: {a: f, b: f}\nlinks: [a - b, a:eth1 - b:eth2]\n")
    assert design.links[0].ends == (End("a", 2), End("b", 1))
    assert [vm.nics for vm in design.vms] == [3, 3]


def test_there_is_no_eleventh_data_interface() -> None:
    links = "".join("- a - b\n" for _ in range(11))
    with pytest.raises(BadSliceFile) as caught:
        read(f"slice: a\nvms: {{a: f, b: f}}\nlinks:\n{links}")
    assert str(caught.value).splitlines() == [f"line 14: {vm} has no free data interface: 10 are in use" for vm in "ab"]


@pytest.mark.parametrize(("count", "name"), [(1, "a-b"), (2, "a-b.2"), (3, "a-b.3")])
def test_links_without_a_name_are_called_after_their_vms(count: int, name: str) -> None:
    assert read(f"slice: a\nvms: {{a: f, b: f}}\nlinks: [{', '.join(['a - b'] * count)}]").link_names()[-1] == name


def test_a_seed_has_a_bound() -> None:
    script = "x" * 12_000
    one = f"slice: a\nvms:\n  a: {{flavor: f, seed: {{script: {script}, user_data: {{x: {script}}}}}}}\n"
    with pytest.raises(BadSliceFile, match=r"^line 3: the seed of a has 24009 bytes; at most 16384 are allowed$"):
        read(one)
    many = "".join(f"  v{number}: {{flavor: f, seed: {{script: {script}}}}}\n" for number in range(11))
    with pytest.raises(BadSliceFile, match=r"^line 2: the seeds of the slice have 132000 bytes; at most 131072"):
        read(f"slice: a\nvms:\n{many}")


SEEDED = {"debian": Flavor(devices=Devices(seed="nocloud")), "cirros": Flavor()}


@pytest.mark.parametrize(
    ("vm", "reason"),
    [
        ("{flavor: cirros, seed: {script: date}}", "the flavor cirros takes no seed: remove `seed`"),
        ("{flavor: debian, seed: {user_data: {a: .nan}}}", "`user_data` of a: the number nan is not allowed"),
        ("{flavor: debian, seed: {user_data: {users: x}}}", "`user_data` of a: `users` has to be a list"),
        ("{flavor: debian, seed: {user_data: {" + "k" * 200 + ": 1}}}", "a key is a text of at most 128"),
    ],
)
def test_a_seed_that_no_guest_could_read_is_refused_with_its_line(vm: str, reason: str) -> None:
    with pytest.raises(BadSliceFile) as faults:
        read(f"slice: lab\nvms:\n  b: debian\n  a: {vm}\n", SEEDED)
    assert re.match(r"line 4: ", str(faults.value))
    assert reason in str(faults.value)


def test_aliases_mean_what_they_stand_for_and_a_bomb_is_refused() -> None:
    design = read("slice: a\nvms:\n  a: &x {flavor: f, nics: 2}\n  b: *x\n")
    assert [vm.nics for vm in design.vms] == [2, 2]
    levels = "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    with pytest.raises(BadSliceFile, match=f"more than {MAX_NODES} values"):
        read(f"- &a0 x\n{levels}")


def test_anchors_within_anchors_are_no_way_to_nest_deeper() -> None:
    levels = "".join(f"- &a{n} {'[' * 25}*a{n - 1}{']' * 25}\n" for n in range(1, 60))
    with pytest.raises(BadSliceFile, match=r"^line 3: values are nested more than 30 deep, anchors included$"):
        read(f"- &a0 x\n{levels}")


def test_what_is_nested_too_deep_or_too_large_is_refused() -> None:
    with pytest.raises(BadSliceFile, match="more than 30 deep"):
        read("slice: " + "[" * 40 + "]" * 40)
    with pytest.raises(BadSliceFile, match="larger than 1024 KiB"):
        read("#" * (1 << 20) + "\n")
    with pytest.raises(BadSliceFile, match="there are 1001 entries; at most 1000 are allowed"):
        read("slice: a\nvms:\n" + "".join(f"  v{number}: f\n" for number in range(1001)))


def test_a_thousand_vms_are_read_in_less_than_a_second() -> None:
    vms = "".join(f"  v{number}: f\n" for number in range(1000))
    links = "".join(f"- v{number} - v{number + 1}\n" for number in range(999))
    began = time.thread_time()
    assert len(read(f"slice: a\nvms:\n{vms}links:\n{links}").links) == 999
    assert time.thread_time() - began < 1


def test_many_wrong_names_and_networks_are_found_in_a_moment() -> None:
    vms = "".join(f"  v{number}: f\n" for number in range(1000))
    links = "".join(f"- {{ends: [w{n}, x{n}], cidr: 10.{n // 200}.{n % 200}.0/24}}\n" for n in range(2000))
    began = time.thread_time()
    with pytest.raises(BadSliceFile, match=r"and 3950 more faults$"):
        read(f"slice: a\nvms:\n{vms}links:\n{links}")
    assert time.thread_time() - began < 3


def test_nothing_received_is_nothing() -> None:
    design = read("slice: a\nvms: {a: f, b: f}\nlinks:\n- {ends: [a, b], rate: {}}\n")
    assert read(write(design)) == design
    assert design.links[0].impairments == {}


@pytest.mark.torture
def test_no_file_ends_in_anything_but_a_sentence() -> None:
    """Mutated files, 500 of them; in the long version 50,000."""
    seeds = [TRIANGLE, *(case.values[0] for case in bad_files())]
    for number in range(scaled(500, 50_000)):
        chance = random.Random(number)
        text = mutated(str(chance.choice(seeds)), chance)
        sentence = outcome(text, None if chance.random() < 0.5 else FLAVORS)
        assert all(line.isprintable() for line in sentence.splitlines()), number


BOUNDED = FLAVORS | {"fw": Flavor(devices=Devices(min_nics=2, max_nics=4))}


@pytest.mark.parametrize(
    ("nics", "links", "found"),
    [
        ("", "- a - b", [3, 2]),
        ("", "- a:eth4 - b", [4, 2]),
        (", nics: 2", "- a - b", [2, 2]),
        (", nics: 4", "- a - b", [4, 2]),
    ],
)
def test_a_vm_has_as_many_interfaces_as_its_flavor_takes(nics: str, links: str, found: list[int]) -> None:
    text = f"slice: lab\nvms:\n  a: {{flavor: fw{nics}}}\n  b: cirros\nlinks:\n{links}\n"
    flavors = BOUNDED | {"fw": Flavor(devices=Devices(min_nics=2 if nics else 3, max_nics=4))}
    design = read(text, flavors)
    assert [vm.nics for vm in design.vms] == found
    assert read(write(design), flavors) == design


@pytest.mark.parametrize(
    ("nics", "link", "said"),
    [
        (", nics: 1", "a - b", "line 3: a VM of flavor fw takes 2 to 4 data interfaces, not 1"),
        (", nics: 5", "a - b", "line 3: a VM of flavor fw takes 2 to 4 data interfaces, not 5"),
        ("", "a:eth5 - b", "line 6: a has 4 data interfaces; take another flavor than fw to use eth5"),
        (", nics: 3", "a:eth4 - b", "line 6: a has 3 data interfaces; raise `nics` of a to use eth4"),
    ],
)
def test_more_or_fewer_interfaces_than_a_flavor_takes_are_refused(nics: str, link: str, said: str) -> None:
    text = f"slice: lab\nvms:\n  a: {{flavor: fw{nics}}}\n  b: cirros\nlinks:\n- {link}\n"
    assert outcome(text, BOUNDED) == said


def outcome(text: str, flavors: Mapping[str, Flavor] | None) -> str:
    """Return the refusal of a file; a file that is read is read again as it is written."""
    try:
        design = read(text, flavors)
    except BadSliceFile as refusal:
        return str(refusal)
    assert read(write(design)) == design
    return ""


def mutated(text: str, chance: random.Random) -> str:
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(text) + 1), chance.randint(0, 12)
        other = chance.randrange(len(text) + 1)
        pieces = (
            "",
            text[other : other + length],
            chance.choice("{}[]:,-&*!|>'\"%@`#\t\n\0\x85\u202e\ud800 0"),
            "a: b",
        )
        text = text[:place] + chance.choice(pieces) + text[place + chance.choice((0, length)) :]
    return text

"""The tables that guests share on the network node: parser, findings, and the check before a deployment."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from core.errors import BadAnswer
from core.inventory import Inventory
from inspection import shared
from inspection.facts import Facts
from inspection.findings import Comparison, Finding, of_host
from inspection.orphans import Owners, orphans
from inspection.parse import parse_answers
from network import neighbours
from tests.support.designs import design

NODE = "10.0.10.3"
BOUNDS = neighbours.bounds(1000, {100: 2, 101: 2}, [100, 101])


def listed(bounds: dict[str, int]) -> dict[str, str]:
    text = "".join(f"namespace {name}\n{neighbours.listing(size)}\n" for name, size in bounds.items())
    found: dict[str, str] = shared.parse_bounds(text)["bounds"]
    return found


def test_a_router_knows_the_ends_of_its_links_and_some_more() -> None:
    assert BOUNDS == {"ns-gw-slice1000": 36, "ns-dhcp-vlan100": 8, "ns-dhcp-vlan101": 8}
    assert neighbours.bounds(1000, {}, []) == {}


def test_all_slices_of_the_cloud_fit_into_the_recommended_table() -> None:
    bounds = neighbours.bounds(1000, dict.fromkeys(range(100, 120), 2), range(100, 120))
    assert 100 * 2 * sum(bounds.values()) <= neighbours.RECOMMENDED


def test_a_namespace_without_its_bound_or_with_another_is_found() -> None:
    assert not list(shared.unbounded(BOUNDS, Facts(NODE, bounds=listed(BOUNDS))))
    assert not list(shared.unbounded(BOUNDS, Facts(NODE))), "who was not asked has said nothing"
    wider = Facts(NODE, bounds=listed(BOUNDS | {"ns-dhcp-vlan100": 9000}) | {"ns-gw-slice1000": ""})
    found = [what for _, what in shared.unbounded(BOUNDS, wider)]
    assert [what.split()[0] for what in found] == ["ns-gw-slice1000", "ns-dhcp-vlan100"]


def test_bounds_above_the_kernels_room_are_reported() -> None:
    known = sum(2 * size for size in BOUNDS.values())
    hosts = {"/run/ns-dhcp-vlan400/hosts/slice-1000": ("a", "b"), "/run/ns-dhcp-vlan100/hosts/slice-1000": ("c",)}
    facts = Facts(
        NODE,
        bounds=listed(BOUNDS),
        hosts=hosts,
        most_neighbours=known,
        most_connections=1720,
        bridges=frozenset({"br-int"}),
    )
    for change, codes in (
        ({"closed_seconds": 120}, []),
        ({"closed_seconds": 121}, ["connections-many"]),
        ({"most_neighbours": known - 1}, ["neighbours-many"]),
        ({"most_neighbours": 0, "most_connections": 0, "closed_seconds": 9999}, []),
    ):
        changed = Facts(**(vars(facts) | change))
        assert [code for code, _ in shared.too_many(Inventory(), changed)] == codes, change
        assert [each.code for each in of_host(Inventory(), changed, 0, 0)] == codes


@pytest.mark.parametrize("text", ["x", "1\n2\n", "1\n2\n3\n4\n", "-1\n", f"{1 << 40}\n"])
def test_limits_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises((BadAnswer, ValueError)):
        shared.parse_limits(text)


def test_foreign_and_own_names_of_logs_differ() -> None:
    facts = parse_answers(
        NODE, {"logs": "ours dnsmasq_vlan100.log\nforeign dnsmasq_vlan101.log\nours dnsmasq_vlan2099.log\n"}
    )
    assert facts.logs == {100: True, 101: False, 2099: True}
    for text in ("theirs dnsmasq_vlan1.log\n", "ours passwd\n", "ours dnsmasq_vlan99999.log\n"):
        assert parse_answers(NODE, {"logs": text}).unread == ("logs",)


def test_a_foreign_name_of_a_log_and_a_link_that_is_left_have_their_codes() -> None:
    slice_, comparison = design("line"), Comparison(Inventory())
    vlan = slice_.links[0].vlan_id
    facts = Facts(NODE, logs={vlan: False, 2098: False, 2099: True})
    found = [each for each in comparison.of_slice(slice_, {NODE: facts}) if each.code == "log-foreign"]
    what = f"/tmp/dnsmasq_vlan{vlan}.log is not ours"
    assert found == [Finding("log-foreign", NODE, what, slice_.slice_id)]
    left = [
        each for each in orphans(Owners(comparison, [], lambda _: False), facts) if each.finding.code == "orphan-log"
    ]
    assert [each.finding.what for each in left] == ["/tmp/dnsmasq_vlan2099.log"]
    assert left[0].removal
    assert left[0].removal.do[0].unless == ("test", "-d", "/run/ns-dhcp-vlan2099")


@pytest.mark.parametrize(("room", "full"), [(104, False), (103, True)])
def test_a_small_table_of_neighbours_is_reported_before_any_change(tmp_path: Path, room: int, full: bool) -> None:
    (tmp_path / "gc_thresh3").write_text(f"{room}\n")
    _, _, script, *words = neighbours.check_room(BOUNDS).argv
    script = script.replace("/proc/sys/net/ipv4/neigh/default", str(tmp_path))
    script = script.replace("/proc/net/stat/arp_cache", f"{tmp_path}/none")
    done = subprocess.run(["sh", "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == int(full)
    assert ("sysctl -w net.ipv4.neigh.default.gc_thresh3=65536" in done.stderr) is full


def test_neighbours_that_are_there_already_count(tmp_path: Path) -> None:
    (tmp_path / "gc_thresh3").write_text("1024\n")
    (tmp_path / "arp_cache").write_text("entries  allocs\n00000398 00000067\n")
    _, _, script, *words = neighbours.check_room(BOUNDS).argv
    for there, place in (("/proc/sys/net/ipv4/neigh/default", tmp_path), ("/proc/net/stat", tmp_path)):
        script = script.replace(there, str(place))
    done = subprocess.run(["sh", "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    (tmp_path / "arp_cache").write_text("entries  allocs\n00000398 00000067\n".replace("398", "3ff"))
    done = subprocess.run(["sh", "-c", script, *words], capture_output=True, text=True, check=False)
    assert re.search(r"room for 1024 neighbours, 1023 are there and the slice may have 104 more", done.stderr)

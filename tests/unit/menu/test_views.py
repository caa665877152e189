"""Tables and plain lines have the same facts, and nothing is cut off on 80 columns."""

from __future__ import annotations

import io
import re
from itertools import chain

import pytest

from core.inventory import Worker
from core.status import VMStatus
from inspection.summary import SliceProblems
from menu.entries import ENTRIES
from menu.screen import View, clean
from menu.texts import flavor_size, gib, linkable_lines, seconds
from menu.views import MenuView, ReachView, ResourcesView, SlicesView, SliceView
from models import VM, Devices, Flavor, Interface, Link, Slice, User
from tests.support.fake_api import furnished
from tests.support.playing import screen_of

LONG = "a-name_of-32-characters-01234567"
WIDTHS = [80, 120]

VM_FACTS = ["1001", LONG, "10.0.10.1", "10.0.10.1:5901", "x7Kd1001", "cirros", "running"]
INTERFACE_FACTS = [
    ["eth0", "52:54:00:03:e9:00", "VLAN 400", "10.60.7.101", "internet"],
    ["eth1", "52:54:00:03:e9:01", "VLAN 100", "192.168.100.10", "-> vm2 eth1"],
    ["eth2", "52:54:00:03:e9:02", "VLAN -", "not connected"],
]


def running() -> Slice:
    cloud = furnished()
    slice_ = cloud.slices[1000]
    slice_.vms[0].name = LONG
    cloud.deploy_slice("admin", 1000, lambda _event: None)
    slice_.left = ["10.0.10.2: overlay of vm2"]
    return slice_


def drawn(view: View, width: int) -> str:
    """Return the text on a terminal without colours and frames, its lines joined."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown(view, terminal=True, width=width))
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    return " ".join(re.sub(r"[│├└─╭╮╰╯┬┴┼┤━╸╺]", " ", text).split())


def plain(view: View) -> str:
    return shown(view, terminal=False, width=80)


def shown(view: View, *, terminal: bool, width: int) -> str:
    output = io.BytesIO()
    screen = screen_of(output, terminal=terminal, width=width)
    screen.show(view)
    return output.getvalue().decode()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_slice_is_drawn_with_all_its_facts(width: int) -> None:
    text = drawn(SliceView(running()), width)

    for fact in [
        "Slice 1000",
        "net1",
        "VLANs 100-119",
        "10.0.10.2: overlay of vm2",
        *VM_FACTS,
        *chain(*INTERFACE_FACTS),
    ]:
        assert fact in text
    assert f"-> {LONG} eth1" in text


def test_a_wide_terminal_has_the_picture_beside_the_tree() -> None:
    slice_ = running()
    narrow, wide = (shown(SliceView(slice_), terminal=True, width=width) for width in (100, 160))
    assert "\u25cf" not in narrow
    assert re.search(r"Slice 1000.*\n(.*\n)*.*   \u25cf───\u25cf   ", wide)
    assert f"   1 {LONG}" in wide
    assert max(len(line) for line in re.sub(r"\x1b\[[0-9;]*m", "", wide).splitlines()) <= 160


def test_a_slice_in_plain_lines_has_a_line_per_vm_and_per_interface() -> None:
    lines = plain(SliceView(running())).splitlines()

    assert lines[0] == "Slice 1000: net1, running, VLANs 100-119"
    assert lines[1] == (
        f"  VM 1001: {LONG}, worker 10.0.10.1, VNC 10.0.10.1:5901 password x7Kd1001, flavor cirros, running"
    )
    assert lines[3] == ("    VM 1001 eth1: MAC 52:54:00:03:e9:01, VLAN 100, address 192.168.100.10, -> vm2 eth1")
    for line, facts in zip(lines[2:5], INTERFACE_FACTS, strict=True):
        assert all(fact in line for fact in facts)
    assert lines[-1] == "  still to be removed: 10.0.10.2: overlay of vm2"
    assert len(lines) == 1 + 3 * (1 + 3) + 1


def test_a_vm_with_a_seed_shows_its_user_and_password_while_it_runs() -> None:
    slice_ = running()
    vm = slice_.vms[0]
    vm.flavor, vm.password = Flavor(devices=Devices(seed="nocloud", user="debian")), "letmein23456"
    for text in (plain(SliceView(slice_)), drawn(SliceView(slice_), 100)):
        assert "VNC 10.0.10.1:5901 password x7Kd1001, user debian password letmein23456" in text
    assert "letmein23456" not in plain(SliceView(slice_.without_secrets()))
    vm.status = VMStatus.DESIGN
    assert "letmein23456" not in plain(SliceView(slice_))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_guest_that_talks_on_its_screen_is_named(width: int) -> None:
    slice_ = running()
    assert "its console" not in plain(SliceView(slice_))
    slice_.vms[0].flavor = Flavor(devices=Devices(console="vnc"))
    assert plain(SliceView(slice_)).count(" (its console)") == 1
    assert "its console" in " ".join(drawn(SliceView(slice_), max(width, 100)).split())


@pytest.mark.parametrize("width", WIDTHS)
def test_an_interface_has_the_name_of_the_guest_beside_its_own(width: int) -> None:
    slice_ = running()
    for vm in slice_.vms:
        vm.flavor = Flavor(devices=Devices(nic_names="ether{n+1}"))
    assert "VM 1001 eth1 (ether2): MAC " in plain(SliceView(slice_))
    assert "eth1 (ether2) " in drawn(SliceView(slice_), width)
    assert "    - eth1 (ether2) (" in "\n".join(line for line, _ in linkable_lines(slice_))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_problem_has_a_line_and_its_advice_a_part_of_its_own(width: int) -> None:
    problems = SliceProblems(("10.0.10.1: VM web does not run", "10.0.10.3: is down"), ("11 repairs it",))
    view = SliceView(Slice(1000, "admin"), problems=problems)

    assert view.lines()[1:] == [
        "  problem: 10.0.10.1: VM web does not run",
        "  problem: 10.0.10.3: is down",
        "    do: 11 repairs it",
    ]
    shown = "problem: 10.0.10.1: VM web does not run problem: 10.0.10.3: is down do: 11 repairs it"
    assert shown in drawn(view, width)


def test_the_password_is_shown_of_running_vms_only() -> None:
    slice_ = running()
    slice_.vms[0].status = VMStatus.DESIGN

    assert "x7Kd1001" not in plain(SliceView(slice_))
    assert "x7Kd1002" in plain(SliceView(slice_))


def test_vms_come_by_id_whatever_their_order_in_the_file() -> None:
    slice_ = running()
    before = plain(SliceView(slice_))
    slice_.vms.reverse()

    assert plain(SliceView(slice_)) == before


@pytest.mark.parametrize("width", WIDTHS)
def test_slices_are_a_table_and_lines(width: int) -> None:
    slices = [running(), Slice(1007, "ann")]
    slices[0].name = LONG
    view = SlicesView(slices, "admin")

    assert plain(view).splitlines() == [
        f"Slice 1000: {LONG}, running, 3 VMs, 1 link",
        "Slice 1007: -, design, 0 VMs, 0 links, of ann",
    ]
    assert "Slice Name Owner Status VMs Links" in drawn(view, width)
    for row in (f"1000 {LONG} admin running 3 1", "1007 - ann design 0 0"):
        assert row in drawn(view, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_empty_slice_and_one_without_a_name(width: int) -> None:
    slice_ = Slice(1000, "admin")

    assert "no VMs yet" in drawn(SliceView(slice_), width)
    assert plain(SliceView(slice_)) == "Slice 1000: -, design, VLANs 100-119\n"


@pytest.mark.parametrize("width", WIDTHS)
def test_text_of_a_file_is_neither_markup_nor_control(width: int) -> None:
    slice_ = Slice(1000, "admin")
    slice_.name = "[bold red]x[/bold red]\x1b[2J\nError: y"
    vm = VM(1001, "[/]\x1b]0;title\x07", "admin", "10.0\u202e.1", 5901, [Interface("eth0\x1b[H", 7, "mac\r")], {})
    slice_.vms.append(vm)
    slice_.links.append(Link(1, 7, 1001, "eth0", 9999, "eth1"))
    vm.interfaces[0].link_id = 1

    for text in (drawn(SliceView(slice_), width), plain(SliceView(slice_))):
        assert "[bold red]x[/bold red]?[2J Error: y" in text
        assert "-> VM 9999 eth1" in text
        assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize("width", WIDTHS)
def test_resources_in_both_forms(width: int) -> None:
    user = User("admin", "")
    user.used_vms = 3
    workers = {
        "10.0.10.1": Worker(4, 7.5, 100.0, 2, 1.0, 3.2),
        "10.0.10.2": Worker(up=False, problem="10.0.10.2 does not answer: timed out"),
    }
    flavors = {name: Flavor.from_dict(flavor) for name, flavor in Flavor.FLAVORS.items()}
    view = ResourcesView(user, workers, flavors, 4)

    text = drawn(view, width)
    facts = ["3 of 10 VMs used", "10.0.10.1 up 2 on 4", "1 GiB of 7.5 GiB", "3.2 GiB of 100 GiB", "timed out"]
    for fact in [*facts, "10.0.10.2 does not answer - - -", "ubuntu 1 0.5 GiB 2.2 GiB"]:
        assert fact in text
    assert plain(view).splitlines() == [
        "Quota: 3 of 10 VMs used, 0 of 4 slices",
        "Worker 10.0.10.1: up, 2 on 4 cores, 1 GiB of 7.5 GiB RAM, 3.2 GiB of 100 GiB disk",
        "Worker 10.0.10.2: does not answer, - cores, - RAM, - disk, 10.0.10.2 does not answer: timed out",
        f"Flavor cirros: 1 core, 0.5 GiB RAM, 1 GiB disk, base image {Flavor.FLAVORS['cirros']['image']}",
        f"Flavor ubuntu: 1 core, 0.5 GiB RAM, 2.2 GiB disk, base image {Flavor.FLAVORS['ubuntu']['image']}",
    ]


def test_resources_without_any_quota_worker_or_flavor() -> None:
    view = ResourcesView(User("carol", "", 0), {}, {}, 4)

    assert "0 of 0 VMs used" in drawn(view, 80)
    assert plain(view) == "Quota: 0 of 0 VMs used, 0 of 4 slices\n"


@pytest.mark.parametrize("width", WIDTHS)
def test_how_to_reach_the_vms(width: int) -> None:
    for text in (drawn(ReachView(running()), width), plain(ReachView(running()))):
        for fact in ["10.60.7.101", "192.168.100.10", "10.0.10.1:5901", "password x7Kd1001", "9. Open a VM's console"]:
            assert fact in text
        assert "eth2" not in text  # it has no address


def test_the_menu_in_both_forms() -> None:
    view = MenuView("admin", [(1, "View"), (10, "Show"), (0, "Exit")])

    assert "1. View 0. Exit 10. Show" in drawn(view, 80)
    assert plain(view).splitlines()[1:] == ["1. View", "10. Show", "0. Exit"]
    assert '".." at any question' in plain(view)


@pytest.mark.parametrize("width", [20, 30, 40, 75, 76, 200])
def test_no_entry_of_the_menu_vanishes_on_a_narrow_terminal(width: int) -> None:
    view = MenuView("student", [(entry.number, entry.title) for entry in ENTRIES])
    text = "".join(drawn(view, width).split())
    assert not [entry for entry in ENTRIES if f"{entry.number}.{''.join(entry.title.split())}" not in text]
    assert "CloudRepositorio:student" in text
    assert "leadsbacktothismenu" in text


@pytest.mark.parametrize("width", [1, 5, 19])
def test_below_20_columns_there_are_plain_lines(width: int) -> None:
    for view in (MenuView("admin", [(1, "View"), (0, "Exit")]), SliceView(running())):
        assert shown(view, terminal=True, width=width) == plain(view)


def test_linkable_interfaces_as_the_page_on_managing_vms_shows_them() -> None:
    slice_ = furnished().slices[1000]
    slice_.vms[2].interfaces = slice_.vms[2].interfaces[:1]

    assert [line for line, _ in linkable_lines(slice_)] == [
        "Available VMs and interfaces:",
        "  VM 1001: vm1",
        "    - eth1 (connected to vm2 eth1)",
        "    - eth2 (unconnected)",
        "  VM 1002: vm2",
        "    - eth1 (connected to vm1 eth1)",
        "    - eth2 (unconnected)",
        "  VM 1003: vm3",
    ]
    assert [line for line, free in linkable_lines(slice_) if free] == ["    - eth2 (unconnected)"] * 2
    assert list(linkable_lines(Slice(1000, "admin")))[-1] == ("  (none)", False)


def test_amounts_and_durations() -> None:
    assert [gib(0.25), gib(1), gib(2.2), gib(1999.996)] == ["0.25 GiB", "1 GiB", "2.2 GiB", "2000 GiB"]
    assert [seconds(0.004), seconds(59.99), seconds(60), seconds(754.6)] == [
        "0.00 s",
        "59.99 s",
        "1 min 00 s",
        "12 min 35 s",
    ]
    assert flavor_size(Flavor(cores=2, ram_gb=1, disk_gb=5).size) == "2 cores, 1 GiB RAM, 5 GiB disk"
    assert flavor_size(Flavor().size) == "1 core, 0.5 GiB RAM, 1 GiB disk"


def test_clean_keeps_letters_of_all_scripts() -> None:
    assert clean("señal 網路 🙂") == "señal 網路 🙂"
    assert clean("a\tb\x00c\ud800\u200b") == "a b?c??"


def test_an_admin_sees_the_owner_of_a_slice_and_its_owner_does_not() -> None:
    slice_ = Slice(1000, "alice")
    assert plain(SliceView(slice_, "alice")) == "Slice 1000: -, design, VLANs 100-119\n"
    assert plain(SliceView(slice_, "admin")) == "Slice 1000: -, design, VLANs 100-119, of alice\n"
    assert "of alice" in drawn(SliceView(slice_, "admin"), 80)
    assert "alice" not in drawn(SliceView(slice_, "alice"), 80)

"""The commands that change a design, over fake hosts: what is on standard output, and the exit status."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import pytest

from core.errors import Refused
from core.status import VMStatus
from menu import commands
from menu.arguments import parser
from menu.screen import Screen
from remote.events import Event, StepDone
from tests.support.desk import Desk
from tests.support.dying import ManagerDiesError

pytestmark = pytest.mark.on_a_file

FILE = """\
slice: mine
vms: {a: cirros, b: cirros, c: cirros}
links: [a - b]
"""


def run(desk: Desk, *words: str) -> tuple[int, list[str]]:
    """Return exit status and standard output of a command of `student`."""
    args = parser(Path()).parse_args(["--as", "student", *words])
    output = io.StringIO()
    return commands.COMMANDS[args.command](
        desk.api, args, Screen(output, terminal=False)
    ), output.getvalue().splitlines()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.slice.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def made(desk: Desk, file: Path) -> Desk:
    """Return a desk with the slice of the file."""
    assert run(desk, "apply", str(file)) == (0, ["Slice created! ID: 1000"])
    return desk


def test_apply_says_what_differs_and_the_second_time_that_nothing_does(made: Desk, file: Path) -> None:
    file.write_text(FILE.replace("- b]", "- b, b - c]").replace("a: cirros", "a: {flavor: cirros, internet: true}"))
    assert run(made, "apply", str(file)) == (
        0,
        [
            "1 VM changed live, 1 link added",
            "  VM a: changed live (internet no -> yes)",
            "  link b-c: added",
            "Slice changed",
        ],
    )
    assert run(made, "apply", str(file)) == (0, ["nothing to do"])


def test_the_plan_of_a_file_begins_with_the_counts(made: Desk, file: Path) -> None:
    assert run(made, "plan", str(file)) == (0, ["nothing to do"])
    file.write_text(FILE.replace("c: cirros", "d: cirros"))
    before = made.path.read_bytes()
    status, lines = run(made, "plan", str(file))
    assert (status, lines[0]) == (0, "1 VM removed, 1 VM added")
    assert any("overlay of d" in line for line in lines)
    assert made.path.read_bytes() == before


def test_the_plan_of_a_running_slice_says_what_only_the_hosts_know(made: Desk, file: Path) -> None:
    made.ok(made.api.deploy_slice("student", 1000))
    file.write_text(FILE.replace("c: cirros", "d: cirros"))
    assert "VMs that powered themselves off stay off." in run(made, "plan", str(file))[1]
    file.write_text(FILE + "description: mine\n")
    assert "VMs that powered themselves off stay off." not in run(made, "plan", str(file))[1]


def test_the_plan_of_a_new_slice_says_so(desk: Desk, file: Path) -> None:
    status, lines = run(desk, "plan", str(file))
    assert (status, lines[0]) == (0, "1 slice added, with 3 VMs and 1 link")
    assert desk.ok(desk.api.list_slices("student")) == []


def test_a_removal_needs_an_answer(made: Desk, file: Path) -> None:
    file.write_text(FILE.replace(", c: cirros", ""))
    with pytest.raises(Refused, match=r"^apply asks before it removes VM c; without a terminal .* it needs --yes$"):
        run(made, "apply", str(file))
    assert len(made.slice().vms) == 3
    assert run(made, "apply", str(file), "--yes")[1][-1] == "Slice changed"
    assert len(made.slice().vms) == 2


def test_vms_and_links_come_and_go(made: Desk) -> None:
    assert run(made, "add-vm", "mine", "d", "cirros", "--nics", "2", "--internet") == (
        0,
        ["VM added! ID: 1004, VNC: 5904, Flavor: cirros"],
    )
    assert run(made, "link", "mine", "a", "c", "d:eth2", "--name", "core", "--services", "none")[1] == [
        "1 link added",
        "  link core: added",
        "Slice changed",
    ]
    assert made.slice().links[1].ends == ((1001, "eth2"), (1003, "eth1"), (1004, "eth2"))
    assert run(made, "unlink", "mine", "c:eth1")[1][-1] == "Slice changed"
    assert run(made, "remove-vm", "mine", "d", "--yes")[1][:2] == ["1 VM removed", "  VM d: removed"]
    assert ([vm.name for vm in made.slice().vms], len(made.slice().links)) == (["a", "b", "c"], 1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("link", "mine", "a", "x"), "Slice 1000 has no VM x; its VMs: 1001 (a), 1002 (b), 1003 (c)"),
        (("link", "mine", "a:eth1", "c"), "VM 1001 (a): eth1 is taken; its free data interfaces: eth2"),
        (("link", "mine", "a:1", "c"), "a:1 is no end of a link; write VM or VM:eth1"),
        (("link", "mine", "a:eth0", "c"), "eth0 is for the internet and takes no link; write VM:eth1 or a higher one"),
        (("link", "mine", "a:eth9", "c"), "a has no eth9; its free data interfaces: eth2"),
        (("link", "mine", "a:", "c"), "a: is no end of a link; write VM or VM:eth1"),
        (("add-vm", "mine", "5", "cirros"), "The name of a new VM begins with a letter"),
        (("add-vm", "mine", "A", "cirros"), "A and a have the same host name in the guest; choose another name"),
        (("link", "mine", "a", "a"), "A link joins different VMs; a was given twice"),
        (("link", "mine", "a"), "A link needs two ends or more"),
        (("unlink", "mine", "core"), "Slice 1000 has no link core; its links: a-b"),
        (("remove-vm", "mine", "x"), "Slice 1000 has no VM x; its VMs: 1001 (a), 1002 (b), 1003 (c)"),
        (("add-vm", "mine", "a", "cirros"), "Slice 1000 has a VM a already; choose another name"),
    ],
)
def test_wrong_words_change_nothing(made: Desk, words: tuple[str, ...], sentence: str) -> None:
    before = made.path.read_bytes()
    with pytest.raises(Refused) as refused:
        run(made, *words)
    assert str(refused.value) == sentence
    assert made.path.read_bytes() == before


@pytest.fixture
def unfinished(made: Desk) -> Desk:
    """Return a desk on which the manager died when the disk of a fourth VM was made."""

    def die(event: Event) -> None:
        if isinstance(event, StepDone):
            raise ManagerDiesError

    with suppress(ManagerDiesError):
        made.api.add_vm_to_slice("student", 1000, "d", "cirros", 1, listen=die)
    assert [vm.status for vm in made.slice().vms][3] == VMStatus.PENDING
    return made


def test_an_addition_that_was_not_finished_is_a_finding_with_two_ways_out(unfinished: Desk) -> None:
    (finding,) = unfinished.api.doctor.examine().findings
    assert (finding.code, finding.what, finding.vm_id) == (
        "vm-unfinished",
        "the addition of VM d was not finished",
        1004,
    )
    assert finding.advice.endswith(": deploy 1000, or remove-vm 1000 1004")
    with pytest.raises(Refused, match=r"is getting a new VM \(d\); .*; so do deploy 1000, and remove-vm 1000 d$"):
        run(unfinished, "link", "mine", "a", "d")


def test_an_addition_that_was_not_finished_is_finished_by_deploying(unfinished: Desk) -> None:
    assert run(unfinished, "deploy", "mine")[0] == 0
    assert {vm.status for vm in unfinished.slice().vms} == {VMStatus.RUNNING}
    assert unfinished.api.doctor.examine().findings == ()


def test_an_addition_that_was_not_finished_is_taken_back_by_removing(unfinished: Desk) -> None:
    said = "the addition of d was not finished: removed"
    assert run(unfinished, "remove-vm", "mine", "d", "--dry-run") == (0, [said])
    with pytest.raises(Refused, match="it needs --yes"):
        run(unfinished, "remove-vm", "mine", "d")
    assert len(unfinished.slice().vms) == 4
    assert run(unfinished, "remove-vm", "mine", "d", "--yes") == (0, [said, "Slice changed"])
    assert [vm.name for vm in unfinished.slice().vms] == ["a", "b", "c"]
    assert not [path for host in unfinished.cloud.hosts.values() for path in host.files if "/d" in path]
    assert unfinished.api.doctor.examine().findings == ()


def test_a_slice_with_names_of_an_older_version_is_changed_by_commands(made: Desk) -> None:
    with made.database.transaction() as state:
        slice_ = state.slices[1000]
        slice_.name, slice_.vms[0].name, slice_.vms[1].name = "5", "5", "55"
    assert run(made, "link", "5", "55", "c") == (0, ["1 link added", "  link 55-c: added", "Slice changed"])
    assert run(made, "unlink", "5", "5-55")[1][0] == "1 link removed"
    assert run(made, "remove-vm", "5", "5", "--yes")[1][0] == "1 VM removed"
    assert [vm.name for vm in made.slice().vms] == ["55", "c"]
    assert run(made, "remove-vm", "5", "1002", "--yes")[1][0] == "1 VM removed, 1 link removed"
    with pytest.raises(Refused, match="The name of a new VM begins with a letter"):
        run(made, "add-vm", "5", "6", "cirros")


def test_a_slice_without_a_name_is_changed_by_commands_only(made: Desk) -> None:
    wanted = made.ok(made.api.designs.read("student", FILE))
    with made.database.transaction() as state:
        state.slices[1000].name = ""
    assert run(made, "link", "1000", "b", "c")[1][-1] == "Slice changed"
    assert made.no(made.api.edits.apply("student", 1000, wanted)).startswith("Slice 1000 cannot be changed by a file")

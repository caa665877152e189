"""The menu from login to exit, played by a script on a cloud in memory."""

from __future__ import annotations

from typing import NoReturn

import pytest

from core.errors import CloudError, Refused
from core.inventory import Worker
from core.results import Failure
from core.status import SliceStatus, VMStatus
from inspection.summary import SliceProblems
from menu.entries import ENTRIES
from menu.session import Measurement
from models import ADMIN
from tests.support.fake_api import Answer, FakeAPI, furnished
from tests.support.playing import LOGIN, play

MENU = [
    "1. View quota and resources",
    "2. Create Slice",
    "3. Add VM to Slice",
    "4. Create Link between VMs",
    "5. View my Slices",
    "6. Deploy Slice",
    "7. Delete Slice",
    "8. Logout",
    "9. Open a VM's console",
    "10. Show the plan of a Slice",
    "11. Repair Slice",
    "12. Change my password",
    "13. Prove isolation",
    "14. Templates and slice files",
    "15. Start, stop, reset, snapshots",
    "16. Change links",
    "17. Picture of a Slice",
    "18. Reach a VM",
    "21. Images and flavors",
    "0. Exit",
]

DESIGN = "2\nlab\n3\n1000\nvm1\n1\n1\ny\n3\n1000\nvm2\n2\n2\nn\n4\n1000\n1001\neth1\n1002\neth2\n"


def lines_of(cloud: FakeAPI, script: str) -> list[str]:
    return play(cloud, LOGIN + script + "0\n")[1].splitlines()


def test_a_first_slice_from_design_to_deletion() -> None:
    cloud = FakeAPI()
    status, output = play(cloud, LOGIN + DESIGN + "6\n1000\n7\n1000\ny\n5\n0\n")
    lines = output.splitlines()

    wanted = [
        "Slice created! ID: 1000",
        "VM added! ID: 1001, VNC: 5901, Flavor: cirros",
        "VM added! ID: 1002, VNC: 5902, Flavor: ubuntu",
        "Link created! VLAN: 100",
        "Slice deployed successfully",
        "Slice deleted",
        "You have no slices yet: 2 creates one",
        "Goodbye",
    ]
    assert [line for line in lines if line in wanted] == wanted
    assert "Error" not in output
    assert status == 0
    assert not cloud.slices


def test_the_prompts_come_as_designed() -> None:
    _, output = play(FakeAPI(), LOGIN + DESIGN + "6\n1000\n7\n1000\ny\n0\n")

    prompts = [line for line in output.splitlines() if line.endswith((": ", "? (y/n): "))]
    choose = "Choose an option: "
    vm = [
        "Slice ID: ",
        "VM name: ",
        "Choose flavor (1-2): ",
        "Number of data interfaces (eth1, eth2, ...): ",
        "Enable internet access (eth0 in VLAN 400)? (y/n): ",
    ]
    link = [
        "First VM ID: ",
        "First VM interface (e.g., eth1): ",
        "Second VM ID: ",
        "Second VM interface (e.g., eth1): ",
    ]
    deletion = ["Slice ID: ", "Delete slice 1000 (lab) with its VMs vm1, vm2? (y/n): "]
    assert prompts == [
        *("Username: ", "Password: ", choose, "Slice name: ", choose, *vm, choose, *vm, choose, "Slice ID: ", *link),
        *(choose, "Slice ID to deploy: ", choose, *deletion, choose),
    ]


def test_the_entries_keep_their_numbers() -> None:
    lines = lines_of(FakeAPI(), "")
    of_admins = {f"{entry.number}. {entry.title}" for entry in ENTRIES if entry.for_admins}
    assert [line for line in lines if line in MENU] == [line for line in MENU if line not in of_admins]
    assert [f"{entry.number}. {entry.title}" for entry in ENTRIES] == MENU


RING = ("14", "1", "ring:6", "1", "none", "lab", "y")


def test_a_ring_of_six_takes_seven_answers() -> None:
    cloud = FakeAPI()
    lines = lines_of(cloud, "\n".join(RING) + "\n")
    assert len(RING) <= 7
    needs = lines.index("ring:6: 6 VMs, 6 links; needs 3 GB of 23 GB; 6 of 10 VMs of your quota")
    assert needs < lines.index("Slice created! ID: 1000") < lines.index("Slice deployed successfully")
    slice_ = cloud.slices[1000]
    assert (slice_.status, len(slice_.vms), len(slice_.links)) == (SliceStatus.RUNNING, 6, 6)
    assert [line for line in lines if line.endswith((": ", "? (y/n): "))][3:-1] == [
        "Choose a way (1-1): ",
        "Kind and size (e.g., ring:6): ",
        "Choose flavor (1-2): ",
        "Internet access (all, none or first): ",
        "Slice name: ",
        "Deploy it now? (y/n): ",
    ]


def test_the_picture_of_a_slice_is_the_one_of_the_command() -> None:
    cloud = furnished()
    lines = lines_of(cloud, "17\n1000\n17\n4711\n")
    first = lines.index("   1   2   3")
    assert lines[first - 2 : first + 2] == ["Slice 1000: net1 (design)", "", "   1   2   3", "   ●───●   │   vm1-vm2"]
    assert any(line.startswith("     eth1  192.168.100.10") for line in lines)
    assert "Error: You have no slice 4711; View my Slices shows the ids" in lines


def test_a_slice_is_made_of_a_file_of_the_operator() -> None:
    cloud = FakeAPI()
    cloud.files = {"lab1.yaml": "slice: lab1\nvms: {a: cirros, b: cirros}\nlinks: [a - b]\n"}
    lines = lines_of(cloud, "14\n2\nlab\nlab1.yaml\nn\n14\n2\nlab1.yaml\nother\ny\n")
    assert [line for line in lines if line.startswith(("  2. A slice from", "  lab1"))] == 2 * [
        "  2. A slice from a slice file (1 file)",
        "  lab1.yaml",
    ]
    assert "Error: There is no file lab; write a name of the list, with its ending" in lines
    assert "lab1.yaml: 2 VMs, 1 link; needs 1 GB of 23 GB; 2 of 10 VMs of your quota" in lines
    assert "You have a slice lab1 already; give this one another name" in lines
    assert {slice_.name: slice_.status for slice_ in cloud.slices.values()} == {
        "lab1": SliceStatus.DESIGN,
        "other": SliceStatus.RUNNING,
    }


def test_all_faults_of_a_file_of_the_operator_are_shown() -> None:
    cloud = FakeAPI()
    cloud.files = {"lab1.yaml": "slice: lab1\nvms: {a: nothing}\nlinks: [a - b]\n"}
    lines = lines_of(cloud, "14\n2\nlab1.yaml\n")
    found = [line for line in lines if line.startswith("Error: lab1.yaml, line ")]
    assert [line.partition(": ")[2][:30] for line in found] == [
        "lab1.yaml, line 2: there is no",
        "lab1.yaml, line 3: there is no",
    ]
    assert not cloud.slices


@pytest.mark.parametrize("answer", ["n", ".."])
def test_a_template_may_stay_in_design(answer: str) -> None:
    cloud = FakeAPI()
    lines_of(cloud, "\n".join((*RING[:-1], answer)) + "\n")
    assert cloud.slices[1000].status == SliceStatus.DESIGN


def test_a_template_needs_a_new_name_that_begins_with_a_letter() -> None:
    lines = lines_of(FakeAPI(), "14\n1\nring:3\n1\nfirst\n3d\nlab\nn\n")
    assert "Error: The name of a new slice begins with a letter" in lines
    assert "Slice created! ID: 1000" in lines


def test_a_lan_is_a_template_too() -> None:
    cloud = FakeAPI()
    lines = lines_of(cloud, "14\n1\nlan:3\n1\nnone\nlab\nn\n")
    assert "Slice created! ID: 1000" in lines
    assert [len(link.ends) for link in cloud.slices[1000].links] == [3]
    assert f"  {'ring:N':24}  N VMs in a circle" in lines


def test_linkable_interfaces_are_shown_between_the_prompts() -> None:
    lines = lines_of(furnished(), "4\n1000\n..\n")
    at = lines.index("Available VMs and interfaces:")
    assert lines[at - 1] == "Slice ID: "
    assert lines[at + 1 : at + 4] == [
        "  VM 1001: vm1",
        "    - eth1 (connected to vm2 eth1)",
        "    - eth2 (unconnected)",
    ]
    assert "First VM ID: " in lines[at:]


def test_entry_5_shows_the_problems_of_a_slice_below_it() -> None:
    cloud = furnished()
    cloud.broken[1000] = SliceProblems(("10.0.10.1: VM vm1 does not run",), ("11 repairs it",))
    lines = lines_of(cloud, "5\n")
    at = lines.index("  problem: 10.0.10.1: VM vm1 does not run")
    assert lines[at + 1] == "    do: 11 repairs it"
    assert lines[at - 1].startswith("    VM ")


def test_flavors_are_numbered_before_they_are_asked_for() -> None:
    lines = lines_of(furnished(), "3\n1000\nvm9\n..\n")
    assert "  2. ubuntu (1 core, 0.5 GiB RAM, 2.2 GiB disk)" in lines


@pytest.mark.parametrize(
    ("before", "wrong", "right", "sentence"),
    [
        ("", "7", "1001\neth2\n1002\neth2\n", "Slice 1000 has no VM 7; its VMs: 1001, 1002, 1003"),
        (
            "1001\n",
            "eth0",
            "eth2\n1002\neth2\n",
            "VM 1001 (vm1): 'eth0' cannot be linked; its free data interfaces: eth2",
        ),
        ("1001\n", "eth1", "eth2\n1002\neth2\n", "VM 1001 (vm1): eth1 is taken; its free data interfaces: eth2"),
        ("1001\neth2\n", "1001", "1002\neth2\n", "A link joins two different VMs; VM 1001 was given twice"),
        ("1001\neth2\n", "7", "1002\neth2\n", "Slice 1000 has no VM 7; its VMs: 1001, 1002, 1003"),
        (
            "1001\neth2\n1002\n",
            "eth3",
            "eth2\n",
            "VM 1002 (vm2): 'eth3' cannot be linked; its free data interfaces: eth2",
        ),
    ],
)
def test_each_end_of_a_link_is_checked_when_it_is_given(before: str, wrong: str, right: str, sentence: str) -> None:
    lines = lines_of(furnished(), f"4\n1000\n{before}{wrong}\n{right}")
    at = lines.index(f"Error: {sentence}")
    assert lines[at + 1] == lines[at - 1], "the same prompt comes again"
    assert "Link created! VLAN: 101" in lines
    assert len([line for line in lines if line.startswith("Error")]) == 1


def test_a_vm_without_a_free_interface_is_refused_before_its_interface_is_asked_for() -> None:
    cloud = furnished()
    cloud.create_link("admin", 1000, 1001, "eth2", 1003, "eth2")
    lines = lines_of(cloud, "4\n1000\n1001\n1002\neth2\n1003\neth1\n")
    assert "Error: VM 1001 (vm1) has no unconnected data interface; choose another VM" in lines
    assert "Link created! VLAN: 102" in lines


def test_a_slice_without_two_free_ends_gets_no_questions_about_them() -> None:
    cloud = FakeAPI()
    cloud.create_slice("admin", "lab")
    cloud.add_vm_to_slice("admin", 1000, "one", "cirros", 1, False, lambda _event: None)
    lines = lines_of(cloud, "4\n1000\n")
    refusal = "Error: Slice 1000 needs two VMs with an unconnected data interface; 3 (Add VM to Slice) adds a VM"
    assert refusal in lines
    assert "First VM ID: " not in lines


def test_after_deployment_it_says_how_to_reach_each_vm() -> None:
    lines = lines_of(furnished(), "6\n1000\n")
    assert (
        "  VM 1001 (vm1): eth0 10.60.7.101 (internet), eth1 192.168.100.10 (-> vm2 eth1), "
        "VNC 10.0.10.1:5901 password x7Kd1001"
    ) in lines


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("3\n77\n", "You have no slice 77; View my Slices shows the ids"),
        ("3\n1000\nvm1\n1\n0\nn\n", "Slice 1000 has a VM vm1 already"),
        ("4\n77\n", "You have no slice 77; View my Slices shows the ids"),
        ("6\n77\n", "You have no slice 77; View my Slices shows the ids"),
        ("6\n1000\n6\n1000\n", "Slice already running"),
        ("7\n77\n", "You have no slice 77; View my Slices shows the ids"),
        ("9\n77\n", "You have no VM 77; View my Slices shows the ids"),
        ("10\n77\n", "You have no slice 77; View my Slices shows the ids"),
    ],
)
def test_a_refusal_is_one_sentence_and_the_menu_again(script: str, sentence: str) -> None:
    lines = lines_of(furnished(), script)

    assert [line for line in lines if line.startswith("Error")] == [f"Error: {sentence}"]
    assert lines[-2:] == ["Choose an option: ", "Goodbye"]


def test_other_peoples_slices_do_not_exist() -> None:
    cloud = furnished()
    for entry in ("3", "4", "6", "7", "10"):
        _, output = play(cloud, f"student\nstudent\n{entry}\n1000\n0\n")
        assert "Error: You have no slice 1000; View my Slices shows the ids" in output.splitlines()
    assert cloud.slices[1000].status == SliceStatus.DESIGN


def test_a_failed_step_is_shown_with_its_reason_once() -> None:
    cloud = furnished()
    cloud.fails_at = "launch"
    lines = lines_of(cloud, "6\n1000\n")

    assert "[launch] 10.0.10.1: QEMU of vm1 ... failed: 10.0.10.1: QEMU of vm1: no space left on device" in lines
    assert "Error: 10.0.10.1: QEMU of vm1: no space left on device" in lines
    assert "Slice deployed successfully" not in lines


def test_nothing_is_deleted_without_a_yes() -> None:
    cloud = furnished()
    assert "Nothing was deleted" in lines_of(cloud, "7\n1000\nn\n")
    assert 1000 in cloud.slices


def test_an_empty_slice_is_named_in_the_question_too() -> None:
    lines = lines_of(FakeAPI(), "2\nlab\n7\n1000\nn\n")
    assert "Delete slice 1000 (lab), which has no VMs? (y/n): " in lines


def test_the_plan_is_shown_and_nothing_is_done() -> None:
    cloud = furnished()
    lines = lines_of(cloud, "10\n1000\n")
    at = lines.index("Slice ID: ")
    assert lines[at + 1 : at + 8] == [
        "7 changes and 6 checks on 3 hosts to deploy slice 1000 (net1)",
        "    step                        makes          undo",
        "preflight (only checks)",
        "  10.0.10.1, 10.0.10.2, 10.0.10.3  tools and bridge",
        "prepare",
        "  10.0.10.1",
        "    base image and overlay of   vm1_img.qcow2  removed",
    ]
    assert lines[-2:] == ["Choose an option: ", "Goodbye"]
    assert cloud.slices[1000].status == SliceStatus.DESIGN


def test_the_plan_of_a_running_slice_is_that_of_its_repair() -> None:
    lines = lines_of(furnished(), "6\n1000\n10\n1000\n")
    assert "7 changes and 6 checks on 3 hosts to repair slice 1000 (net1)" in lines


def test_a_wrong_password_is_asked_again_and_three_end_it() -> None:
    cloud = FakeAPI()
    wrong = "Error: Wrong user name or password"

    assert play(cloud, "admin\nguess\n" + LOGIN + "0\n")[1].splitlines().count(wrong) == 1
    status, output = play(cloud, "admin\nguess\n" * 3 + LOGIN)
    assert output.splitlines().count(wrong) == 3
    assert output.splitlines()[-1] == "Too many wrong logins. Goodbye"
    assert status == 1


def test_logout_leads_to_the_next_login() -> None:
    status, output = play(furnished(), LOGIN + "8\nstudent\nstudent\n5\n0\n")
    lines = output.splitlines()
    assert "Logged out" in lines
    assert any(line.startswith("Cloud Repositorio: student") for line in lines)
    assert "You have no slices yet: 2 creates one" in lines
    assert status == 0


def test_workers_that_do_not_answer_are_named_after_login() -> None:
    lines = lines_of(furnished(down=("10.0.10.2",)), "1\n")
    warning = lines.index("Warning: worker 10.0.10.2 does not answer; it gets no VMs")
    assert lines.index("Password: ") < warning < lines.index("1. View quota and resources")
    assert any(line.startswith("Worker 10.0.10.2: does not answer") for line in lines)


def test_the_menu_opens_although_no_worker_could_be_measured() -> None:
    class Blind(FakeAPI):
        def discover_workers(self) -> Answer[dict[str, Worker]]:
            return False, Failure(Refused("The key file is missing"))

    status, output = play(Blind(), LOGIN + "1\n0\n")
    assert output.splitlines().count("Error: The key file is missing") == 2
    assert status == 0


def test_a_sentence_raised_instead_of_answered_ends_only_the_entry() -> None:
    class Raising(FakeAPI):
        def flavors(self, _actor: str) -> NoReturn:
            raise Refused("database.yaml: line 3 makes no sense")

    status, output = play(Raising(), LOGIN + "1\n0\n")
    assert "Error: database.yaml: line 3 makes no sense" in output.splitlines()
    assert status == 0


@pytest.mark.parametrize(("script", "measurements"), [("", 0), ("admin\n", 0), ("admin\nwrong\n" * 3, 0), (LOGIN, 1)])
def test_no_worker_is_contacted_before_the_password_is_right(script: str, measurements: int) -> None:
    cloud = FakeAPI()
    play(cloud, script)
    assert cloud.measurements == measurements


def test_a_login_uses_known_workers_and_entry_1_measures_them() -> None:
    asked: list[str] = []

    class WatchedAPI(FakeAPI):
        def known_workers(self) -> Answer[dict[str, Worker]]:
            asked.append("known")
            return True, {}

        def discover_workers(self) -> Answer[dict[str, Worker]]:
            asked.append("looked at")
            return True, {}

    play(WatchedAPI(), LOGIN + "1\n0\n")
    assert asked == ["known", "looked at"]


def test_an_error_of_a_background_thread_is_raised_at_its_result() -> None:
    class BrokenAPI(FakeAPI):
        def discover_workers(self) -> Answer[dict[str, Worker]]:
            raise CloudError("broken")

    with pytest.raises(CloudError, match="broken"):
        Measurement(BrokenAPI()).workers()  # type: ignore[arg-type]


def unfinished(status: SliceStatus, vm_status: VMStatus = VMStatus.DESIGN) -> FakeAPI:
    cloud = furnished()
    cloud.left_over = [1000]
    cloud.slices[1000].status = status
    cloud.slices[1000].vms[2].status = vm_status
    return cloud


@pytest.mark.parametrize(
    ("cloud", "found", "question"),
    [
        (
            unfinished(SliceStatus.DEPLOYING),
            "was being deployed when its manager stopped.",
            "(f)inish, (t)ake back or (l)ater? ",
        ),
        (
            unfinished(SliceStatus.CREATING, VMStatus.PENDING),
            "was being created when its manager stopped.",
            "(f)inish, (t)ake back or (l)ater? ",
        ),
        (unfinished(SliceStatus.DELETING), "was being deleted when its manager stopped.", "(f)inish or (l)ater? "),
        (
            unfinished(SliceStatus.DESIGN, VMStatus.PENDING),
            "was getting new VMs when its manager stopped: vm3.",
            "(f)inish, (t)ake back or (l)ater? ",
        ),
    ],
    ids=["deploying", "creating", "deleting", "pending"],
)
def test_an_unfinished_change_is_offered_after_login(cloud: FakeAPI, found: str, question: str) -> None:
    lines = lines_of(cloud, "l\n")
    assert lines[lines.index(question) - 1] == f"Slice 1000 (net1) {found}"
    assert cloud.left_over == [1000]


@pytest.mark.parametrize(
    ("answer", "result"), [("f", "Slice 1000 is running"), ("T", "Slice 1000 is in design")], ids=["finish", "back"]
)
def test_an_unfinished_change_is_finished_or_taken_back(answer: str, result: str) -> None:
    cloud = unfinished(SliceStatus.DEPLOYING)
    assert result in lines_of(cloud, f"{answer}\n")
    assert not cloud.left_over


def test_a_deletion_cannot_be_taken_back() -> None:
    lines = lines_of(unfinished(SliceStatus.DELETING), "t\nl\n")
    assert "Error: Answer f (finish) or l (later)" in lines


def test_a_failed_completion_leads_to_the_menu_all_the_same() -> None:
    cloud = unfinished(SliceStatus.DEPLOYING)
    cloud.fails_at = "launch"
    lines = lines_of(cloud, "f\n")
    assert "Error: 10.0.10.1: QEMU of vm1: no space left on device" in lines
    assert lines[-1] == "Goodbye"


def test_an_admin_sees_the_owner_before_deleting_another_users_slice() -> None:
    cloud = furnished()
    cloud.create_slice("student", "Theirs")
    cloud.users["admin"].role = ADMIN
    lines = lines_of(cloud, "5\n7\n1004\nn\n7\n1000\nn\n")
    assert "Slice 1004: Theirs, design, VLANs 180-199, of student" in lines
    assert "Delete slice 1004 (Theirs) of student, which has no VMs? (y/n): " in lines
    assert "Delete slice 1000 (net1) with its VMs vm1, vm2, vm3? (y/n): " in lines


def test_an_admin_sees_the_owner_of_a_half_done_slice() -> None:
    cloud = furnished()
    cloud.create_slice("student", "Theirs")
    cloud.slices[1004].status = SliceStatus.DEPLOYING
    cloud.left_over.append(1004)
    cloud.users["admin"].role = ADMIN
    assert "Slice 1004 (Theirs) of student was being deployed when its manager stopped." in lines_of(cloud, "l\n")


def test_a_password_is_changed_with_the_current_one_and_the_new_one_twice() -> None:
    cloud = furnished()
    lines = lines_of(cloud, "12\nadmin\na new one\na new one\n")
    at = lines.index("Current password: ")
    assert lines[at : at + 4] == ["Current password: ", "New password: ", "The same again: ", "Password changed"]
    assert cloud.users["admin"].password_hash == "a new one"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("wrong\na new one\na new one\n", "Error: This is not your current password; nothing was changed"),
        ("admin\nshort\nshort\n", "Error: A password has 8 to 256 characters"),
        ("admin\na new one\nanother one\n..\n", "Error: The two differ"),
        ("..\n", "Current password: "),
    ],
)
def test_a_password_that_is_not_changed(answers: str, said: str) -> None:
    cloud = furnished()
    assert said in lines_of(cloud, f"12\n{answers}")
    assert cloud.users["admin"].password_hash == "admin"


def test_a_shipped_password_is_replaced_before_the_menu() -> None:
    cloud = furnished()
    cloud.asks_for_new_password = True
    lines = lines_of(cloud, "short\nshort\n..\na new one\nx\na new one\na new one\n")
    menu = lines.index("Choose an option: ")
    assert [line for line in lines[:menu] if line.startswith(("Error", "Password c"))] == [
        "Error: A password has 8 to 256 characters",
        "Error: The menu opens when you have a new password",
        "Error: The two differ",
        "Password changed",
    ]
    assert cloud.users["admin"].password_hash == "a new one"


def test_without_a_new_password_there_is_no_menu() -> None:
    cloud = furnished()
    cloud.asks_for_new_password = True
    status, output = play(cloud, LOGIN + "short\n")
    assert "Choose an option" not in output
    assert (status, output.splitlines()[-1]) == (0, "Goodbye")


def test_a_warning_is_shown_after_the_next_answer() -> None:
    cloud = furnished()
    cloud.next_warning = "The audit log cannot be written"
    assert lines_of(cloud, "5\n").count("Warning: The audit log cannot be written") == 1


def test_a_number_without_an_entry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = tuple(entry for entry in ENTRIES if entry.number != 9)
    monkeypatch.setattr("tests.support.playing.ENTRIES", entries)
    assert "Error: There is no entry 9 in this menu" in lines_of(furnished(), "9\n")

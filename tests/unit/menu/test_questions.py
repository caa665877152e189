"""A terminal adds to the questions: names, Enter for the last one used, and `?`. A pipe has none of it."""

from __future__ import annotations

import pytest

from menu import reach
from menu.prompts import named_place
from menu.session import Session
from models import ADMIN
from tests.support.fake_api import FakeAPI, furnished
from tests.support.playing import LOGIN, play
from tests.unit.menu.test_same_command import commands, shown

SAME = "python3 cli.py --as admin "

BY_NAME = {
    "3\nnet1\nweb\ncirros\n2\ny": "add-vm net1 web cirros --nics 2 --internet",
    "4\nnet1\nvm1\neth2\nvm3\neth1": "link net1 vm1:eth2 vm3:eth1",
    "6\nnet1": "deploy net1",
    "7\nnet1\ny": "delete net1",
    "11\nnet1": "repair net1",
    "14\nA slice from a t\nring:3\nubu\nnone\nlab\nn": (
        "create --template ring:3 --name lab --flavor ubuntu --internet none"
    ),
    "17\nnet1": "graph net1",
    "9\nvm2": "console net1 vm2",
}
BY_ENTER = {
    "2\nlab\n3\n\nweb\n1\n2\ny": ["add-vm lab web cirros --nics 2 --internet"],
    "17\n1000\n6\n": ["graph net1", "deploy net1"],
    "4\n1000\n1001\neth2\n1003\neth1\n9\n": ["link net1 vm1:eth2 vm3:eth1", "console net1 vm3"],
    "17\n1000\n4\n\n1001\neth2\n1003\neth1": ["graph net1", "link net1 vm1:eth2 vm3:eth1"],
    "17\n1000\n7\n\n..\n17\n": ["graph net1", "graph net1"],
    "7\n1000\nn\n17\n": ["graph net1"],
    "17\n1000\n7\n1000\ny\n17\n\n..": ["graph net1", "delete net1"],
}


@pytest.fixture(autouse=True)
def _no_consoles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the command for a console in place of the console, which needs a real terminal."""

    def join(session: Session, vm_id: int) -> None:
        slice_, vm = reach._found(session, vm_id)
        session.same_as("console", session.word_for(slice_), vm.name)

    monkeypatch.setattr(reach, "join_console", join)


@pytest.mark.parametrize("answers", BY_NAME)
def test_on_a_terminal_a_name_does_as_well_as_an_id(answers: str) -> None:
    assert commands(shown(furnished(), f"{LOGIN}{answers}\n")) == [SAME + BY_NAME[answers]]


@pytest.mark.parametrize("answers", BY_ENTER)
def test_on_a_terminal_enter_takes_the_last_one_used_but_never_to_delete_it(answers: str) -> None:
    found = commands(shown(furnished(), f"{LOGIN}{answers}\n"))
    assert found == [SAME + words for words in BY_ENTER[answers]]


def test_a_question_shows_what_enter_takes() -> None:
    lines = "".join(shown(furnished(), f"{LOGIN}17\n1000\n6\n..\n7\n..\n0\n"))
    assert "Slice ID to deploy [1000 net1]: " in lines
    assert "Slice ID: " in lines
    assert "Slice ID [" not in lines


def test_nothing_is_offered_twice_for_a_link() -> None:
    """The first VM of a link is no answer for the second one."""
    lines = "".join(shown(furnished(), f"{LOGIN}4\n1000\n1001\neth2\n..\n4\n\n\neth2\n..\n0\n"))
    assert "First VM ID [1001 vm1]: " in lines
    assert "Second VM ID [" not in lines


EXPLAINED = {
    "6\n?": [
        'A slice is its ID, its name, or the beginning of its name; ".." leads back to the menu',
        "  Slice 1000: net1, design, 3 VMs, 1 link",
    ],
    "17\nnet1\n6\n?": ["Enter takes 1000 net1"],
    "9\n?": ["A VM is its ID, its name, or the beginning of its name", "  VM 1002: vm2, design"],
    "4\nnet1\nvm1\n?": ["  eth2"],
    "3\nnet1\nweb\n?": [
        "The choice is a whole number from 1 to 2, or a name from the list",
        "  2. ubuntu (1 core, 0.5 GiB RAM, 2.2 GiB disk)",
    ],
    "2\n?": ["A slice name has 1 to 32 letters"],
    "7\nnet1\n?": ['Answer y or n; ".." leads back'],
    "14\n1\n?": ["A template is a kind and its size, such as ring:6", "  ring:N"],
    "14\n1\nring:3\n1\n?": ["Answer all or none or first"],
    "16\n1\n?": ["  Slice 1000: net1"],
}


@pytest.mark.parametrize("answers", EXPLAINED)
def test_a_question_mark_says_what_may_be_typed(answers: str) -> None:
    before = shown(furnished(), f"{LOGIN}{answers.removesuffix('?')}..\n0\n")
    lines = shown(furnished(), f"{LOGIN}{answers}\n..\n0\n")
    new = "\n".join(line for line in lines if lines.count(line) > before.count(line))
    for text in EXPLAINED[answers]:
        assert text in new
    assert "Error" not in new


def test_images_are_listed_for_an_admin() -> None:
    cloud = furnished()
    cloud.users["admin"].role = ADMIN
    lines = shown(cloud, f"{LOGIN}21\n2\n?\n..\n0\n")
    assert any("An image is a file name" in line for line in lines)
    assert any("  cirros-0.6.2-x86_64-disk.img" in line for line in lines)


def test_a_user_name_is_explained_without_a_way_back() -> None:
    lines = shown(furnished(), f"?\n{LOGIN}0\n")
    assert any("A user name has 1 to 32 letters" in line and ".." not in line for line in lines)


@pytest.mark.parametrize(
    "answers", ["6\nnet1\n..\n", "6\n?\n..\n", "17\n1000\n6\n\n..\n", "3\n1000\nweb\ncirros\n..\n"]
)
def test_a_pipe_takes_only_ids_and_numbers(answers: str) -> None:
    _, output = play(furnished(), f"{LOGIN}{answers}0\n")
    assert output.count("Error: ") == 1
    assert "[1000" not in output


def test_a_name_in_two_slices_is_looked_for_in_the_last_one_first() -> None:
    def two() -> FakeAPI:
        cloud = furnished()
        cloud.create_slice("admin", "net2")
        cloud.add_vm_to_slice("admin", 1004, "vm1", "cirros", 1, False, lambda _event: None)
        return cloud

    assert commands(shown(two(), f"{LOGIN}17\nnet2\n9\nvm1\n"))[-1] == f"{SAME}console net2 vm1"
    assert any("1001 (vm1), 1005 (vm1)" in line for line in shown(two(), f"{LOGIN}9\nvm1\n"))


@pytest.mark.parametrize(
    ("word", "place"),
    [("ring", 1), ("ring-2", 2), ("ri", None), ("S", 3), ("star", 3), ("", None), ("mesh", None)],
)
def test_a_choice_is_known_by_its_name_or_a_beginning_that_only_it_has(word: str, place: int | None) -> None:
    assert named_place(word, ["ring", "ring-2", "Star"]) == place

"""The slice or VM that a word means: an id, an exact name, or the beginning of a name; one's own slices first."""

from __future__ import annotations

import pytest

from accounts.rights import find_vm
from core.errors import Refused
from models import ADMIN, VM, Slice
from tests.support.desk import Desk


@pytest.fixture
def named(desk: Desk) -> Desk:
    """Return a cloud whose slices have the ids and names of `SLICES`."""
    desk.api.accounts.set_role("admin", ADMIN)
    desk.api.accounts.set_slices("student", len(SLICES))
    for slice_id, (owner, name) in SLICES.items():
        assert desk.ok(desk.api.create_slice(owner, name)).slice_id == slice_id
    return desk


SLICES = {
    1000: ("student", "lab"),
    1001: ("student", "lab-two"),
    1002: ("admin", "lab"),
    1003: ("admin", "ring"),
    1004: ("student", "ring-of-four"),
    1005: ("student", "1003"),
    1006: ("student", "twin"),
    1007: ("student", "twin"),
    1008: ("student", ""),
}


@pytest.mark.parametrize(
    ("actor", "word", "slice_id"),
    [
        ("student", "1000", 1000),
        ("student", "lab", 1000),
        ("student", "lab-", 1001),
        ("student", "ring", 1004),
        ("student", "1003", 1005),
        ("student", "1008", 1008),
        ("admin", "1003", 1003),
        ("admin", "lab", 1002),
        ("admin", "lab-two", 1001),
        ("admin", "ring", 1003),
        ("admin", "ri", 1003),
        ("admin", "ring-", 1004),
    ],
)
def test_a_word_means_a_slice(named: Desk, actor: str, word: str, slice_id: int) -> None:
    assert named.ok(named.api.find_slice(actor, word)).slice_id == slice_id


@pytest.mark.parametrize(
    ("actor", "word", "sentence"),
    [
        ("student", "la-", "You have no slice la-; your slices: 1000 (lab), 1001 (lab-two), 1004 (ring-of-four), "),
        ("student", "1002", "You have no slice 1002; your slices: "),
        ("student", "", "You have no slice ; your slices: "),
        ("student", "la", "la may be any of these slices: 1000 (lab), 1001 (lab-two); use an id"),
        ("student", "twin", "twin may be any of these slices: 1006 (twin), 1007 (twin); use an id"),
        ("ghost", "lab", "There is no user ghost; python3 cli.py user list shows all"),
    ],
)
def test_a_word_that_means_none_or_several_is_refused(named: Desk, actor: str, word: str, sentence: str) -> None:
    assert named.no(named.api.find_slice(actor, word)).startswith(sentence)


def test_of_many_slices_a_refusal_names_the_first(desk: Desk) -> None:
    desk.api.accounts.set_role("admin", ADMIN)
    for number in range(12):
        desk.ok(desk.api.create_slice("admin", f"lab-{number:02}"))
    sentence = desk.no(desk.api.find_slice("admin", "lab"))
    assert sentence.startswith("lab may be any of these slices: 1000 (lab-00), ")
    assert sentence.endswith(", 1009 (lab-09) and 2 more; use an id")


def slice_of(**vms: int) -> Slice:
    """Return a slice with VMs of these names and ids."""
    slice_ = Slice(1000, "student")
    slice_.vms = [VM(vm_id, name.replace("_", "-"), "student", "10.0.10.1", 5901, []) for name, vm_id in vms.items()]
    return slice_


@pytest.mark.parametrize(
    ("word", "vm_id"), [("1001", 1001), ("r1", 1002), ("r1-", 1003), ("p", 1004), ("pc", 1004), ("1003", 1003)]
)
def test_a_word_means_a_vm(word: str, vm_id: int) -> None:
    assert find_vm(slice_of(r=1001, r1=1002, r1_backup=1003, pc=1004), word).vm_id == vm_id


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("r", "r may be any of these VMs: 1002 (r1), 1003 (r1-backup); use an id"),
        ("", "Slice 1000 has no VM ; its VMs: 1002 (r1), 1003 (r1-backup), 1004 (pc)"),
        ("1000", "Slice 1000 has no VM 1000; its VMs: 1002 (r1), 1003 (r1-backup), 1004 (pc)"),
    ],
)
def test_a_word_that_means_no_vm_or_several_is_one_sentence(word: str, sentence: str) -> None:
    with pytest.raises(Refused) as refusal:
        find_vm(slice_of(r1=1002, r1_backup=1003, pc=1004), word)
    assert str(refusal.value) == sentence


def test_a_slice_without_vms_says_so() -> None:
    with pytest.raises(Refused, match="has no VM pc; its VMs: none yet, add one first"):
        find_vm(slice_of(), "pc")

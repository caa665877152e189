"""The use-cases of a user's public keys."""

from __future__ import annotations

import yaml

from core.ssh_keys import read_public_key
from models import MAX_KEYS
from tests.support.acts import read_log
from tests.support.designs import FLAVOR
from tests.support.desk import Desk
from tests.unit.core.test_ssh_keys import GOOD, wire


def other_key(number: int) -> str:
    return f"ssh-ed25519 {wire(b'ssh-ed25519', bytes([number] * 32))} key-{number}"


def test_keys_are_added_listed_and_removed_by_number(desk: Desk) -> None:
    for line in GOOD[:3]:
        assert desk.ok(desk.api.keys.add("student", f"{line}\n")).key == read_public_key(line)
    assert [str(key) for key in desk.ok(desk.api.keys.list("student"))] == GOOD[:3]
    assert str(desk.ok(desk.api.keys.remove("student", 2)).key) == GOOD[1]
    assert [str(key) for key in desk.ok(desk.api.keys.list("student"))] == [GOOD[0], GOOD[2]]
    assert desk.ok(desk.api.keys.list("admin")) == []


def test_a_key_that_cannot_be_added_is_refused_and_changes_nothing(desk: Desk) -> None:
    desk.ok(desk.api.keys.add("student", GOOD[0]))
    before = desk.path.read_bytes()
    twice = desk.no(desk.api.keys.add("student", f"{GOOD[0]}-other-comment"))
    assert "You have this key already: it is number 1" in twice
    assert "options" in desk.no(desk.api.keys.add("student", f'command="sh" {GOOD[1]}'))
    assert "no user ghost" in desk.no(desk.api.keys.add("ghost", GOOD[1]))
    assert desk.path.read_bytes() == before


def test_a_user_has_at_most_ten_keys(desk: Desk) -> None:
    for number in range(MAX_KEYS):
        desk.ok(desk.api.keys.add("student", other_key(number)))
    assert "at most 10 are allowed; remove one first" in desk.no(desk.api.keys.add("student", other_key(99)))


def test_a_number_without_a_key_is_refused(desk: Desk) -> None:
    assert "no keys yet" in desk.no(desk.api.keys.remove("student", 1))
    desk.ok(desk.api.keys.add("student", GOOD[0]))
    for number in (0, 2, -1):
        assert "your keys have the numbers 1 to 1" in desk.no(desk.api.keys.remove("student", number))


def test_a_check_shows_what_would_happen_and_changes_nothing(desk: Desk) -> None:
    before = desk.path.read_bytes()
    assert desk.ok(desk.api.keys.check("student", GOOD[0])).key == read_public_key(GOOD[0])
    assert "no key 1" in desk.no(desk.api.keys.check_removal("student", 1))
    assert desk.path.read_bytes() == before


def test_vms_that_have_booted_with_other_keys_are_named(desk: Desk) -> None:
    content = yaml.safe_load(desk.path.read_text())
    content["flavors"]["debian"] = {**FLAVOR, "seed": "nocloud"}
    desk.path.write_text(yaml.safe_dump(content))
    slice_ = desk.ring(2)
    desk.ok(desk.api.add_vm_to_slice("student", slice_.slice_id, "r1", "debian"))
    assert desk.ok(desk.api.keys.check("student", GOOD[0])).after_reset == ()
    desk.ok(desk.api.deploy_slice("student", slice_.slice_id))
    assert desk.ok(desk.api.keys.add("student", GOOD[0])).after_reset == ("ring/r1",)
    assert desk.ok(desk.api.keys.remove("student", 1)).after_reset == ("ring/r1",)
    assert desk.ok(desk.api.keys.check("admin", GOOD[0])).after_reset == ()


def test_changes_are_in_the_audit_log(desk: Desk) -> None:
    desk.ok(desk.api.keys.add("student", GOOD[0]))
    desk.ok(desk.api.keys.remove("student", 1))
    assert [entry["action"] for entry in read_log(desk.path)] == ["add key", "remove key"]

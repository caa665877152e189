"""The section `in_use`: the settings with which the slices of a file were made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from core.errors import FileFault
from core.impairments import Profile
from core.inventory import Inventory
from database import Database
from models import Slice, User
from remote.events import Event, StepDone
from storage.state import State
from tests.support.desk import Desk
from tests.unit.conftest import CLOUD
from topology.reader import read

IN_USE = Inventory().in_use


def section(path: Path) -> object:
    return yaml.safe_load(path.read_text()).get("in_use")


def change(path: Path) -> None:
    with Database(path).transaction() as state:
        state.next_vm_id += 1


def test_a_file_without_the_section_loads_unchanged_and_gets_it_with_the_next_change(path: Path) -> None:
    database = Database(path)
    assert database.load().slices
    with database.transaction() as state:
        state.users["admin"].quota_vms += 0
    assert path.read_text() == CLOUD
    change(path)
    assert section(path) == IN_USE
    assert Database(path).load().to_dict() == database.load().to_dict()


def test_a_file_without_slices_needs_no_section(path: Path) -> None:
    path.write_text("users:\n  ana: {username: ana, password_hash: '" + "a" * 64 + "'}\n")
    change(path)
    assert section(path) is None


def test_the_section_follows_the_settings_while_there_are_no_slices(path: Path) -> None:
    path.write_text("users:\n  ana: {username: ana, password_hash: '" + "a" * 64 + "'}\n")
    with Database(path).transaction() as state:
        add_slice(state)
    assert section(path) == IN_USE
    with Database(path).transaction() as state:
        state.users["ana"].slices.clear()
        del state.slices[1000]
    path.write_text(path.read_text().replace("network_node: 10.0.10.3", "network_node: 10.0.10.9", 1))
    with Database(path).transaction() as state:
        add_slice(state)
    assert section(path) == IN_USE | {"network_node": "10.0.10.9"}


def add_slice(state: State) -> None:
    state.users.setdefault("ana", User("ana", "a" * 64)).slices.append(1000)
    state.slices[1000] = Slice(1000, "ana")


def test_keys_that_the_section_lacks_are_added_with_the_next_change(path: Path) -> None:
    """Read a file of this version with a later one that keeps more settings."""
    path.write_text(f"{CLOUD}in_use: {{uplink: ens3}}\n")
    change(path)
    assert section(path) == IN_USE


@pytest.mark.parametrize(("before", "after"), [("trunk", "tunnel"), ("tunnel", "trunk")])
def test_the_underlay_stays_while_there_are_slices(path: Path, before: str, after: str) -> None:
    """Say nothing of a trunk, as earlier versions did, which knew no other."""
    path.write_text(f"{path.read_text()}underlay: {before}\n")
    change(path)
    text = path.read_text()
    assert ("\n  underlay: " in text) is (before == "tunnel")
    path.write_text(text.replace(f"\nunderlay: {before}", f"\nunderlay: {after}"))
    with pytest.raises(FileFault, match=f'underlay: "{after}" cannot replace "{before}" while there are slices'):
        Database(path).load()


def test_a_program_changes_no_such_setting_either(path: Path) -> None:
    change(path)
    before = path.read_text()
    with pytest.raises(FileFault, match=r"network_node: .* cannot replace"), Database(path).transaction() as state:
        state.inventory = Inventory(network_node="10.0.10.9")
    assert path.read_text() == before


def test_a_sentence_names_some_slices_of_many(path: Path) -> None:
    slices = {str(n): {"slice_id": n, "owner": "ana"} for n in range(1000, 1009)}
    user = {"username": "ana", "password_hash": "a" * 64, "slices": [*map(int, slices)]}
    record = {"users": {"ana": user}, "slices": slices, "in_use": {"uplink": "ens9"}}
    path.write_text(yaml.safe_dump(record))
    with pytest.raises(FileFault, match=r"slices \(1000, 1001, 1002, 1003, 1004 and 4 more\): write"):
        Database(path).load()


def test_comments_stay_above_the_section_that_they_are_about(path: Path) -> None:
    path.write_text(CLOUD.replace("\nflavors:", "\n# sizes of ours\nflavors:", 1))
    change(path)
    text = path.read_text()
    assert "\n# sizes of ours\nflavors:" in text
    assert text.index("in_use:") < text.index("# sizes of ours")


# --- Edits under an open menu -----------------------------------------------------------------------------------------


def other_node(path: Path, *, keep: str = "") -> str:
    """Return the file with another network node, and with only the line `keep` of the section `in_use`."""
    record = yaml.safe_load(path.read_text()) | {"network_node": "10.0.10.9"}
    record["in_use"] = {key: value for key, value in record["in_use"].items() if key == keep}
    if not keep:
        del record["in_use"]
    return yaml.safe_dump(record, sort_keys=False)


@pytest.mark.parametrize("keep", ["", "uplink"])
def test_a_removed_section_still_guards_in_a_process_that_read_it(path: Path, keep: str) -> None:
    change(path)
    database = Database(path)
    database.load()
    path.write_text(other_node(path, keep=keep))
    for _ in range(2):
        with pytest.raises(FileFault, match=r"network_node: \"10.0.10.9\" cannot replace \"10.0.10.3\""):
            database.get_next_vm_id()


def test_a_removed_section_guards_also_after_a_read_without_it(path: Path) -> None:
    change(path)
    database = Database(path)
    database.load()
    edited = other_node(path)
    record = yaml.safe_load(path.read_text())
    del record["in_use"]
    path.write_text(yaml.safe_dump(record))
    database.load()
    path.write_text(edited)
    with pytest.raises(FileFault, match=r"network_node: .* cannot replace"):
        database.load()


def test_a_removed_section_is_written_again_with_the_settings_that_stay(path: Path) -> None:
    change(path)
    database = Database(path)
    database.load()
    path.write_text(CLOUD)
    database.get_next_vm_id()
    assert section(path) == IN_USE


def test_a_removed_section_guards_no_file_without_slices(path: Path) -> None:
    change(path)
    database = Database(path)
    database.load()
    path.write_text("network_node: 10.0.10.9\nusers:\n  ana: {username: ana, password_hash: '" + "a" * 64 + "'}\n")
    assert database.load().inventory.network_node == "10.0.10.9"
    with database.transaction() as state:
        add_slice(state)
    assert section(path) == IN_USE | {"network_node": "10.0.10.9"}


def test_a_refused_setting_does_not_lead_back_before_the_last_change(path: Path) -> None:
    change(path)
    database = Database(path)
    database.load()
    path.write_text(path.read_text().replace('network_node: "10.0.10.3"', 'network_node: "10.0.10.9"'))
    with pytest.raises(FileFault, match="cannot replace") as caught:
        database.load()
    assert str(caught.value).endswith('write "10.0.10.9" as network_node into the section in_use, too')
    assert database.previous.exists()


# --- Profiles that links use ------------------------------------------------------------------------------------------

USES_PROFILE = "there is no profile .*, which link {} of slice 1000 uses: write it again"
SLOW = "slice: lab\nvms: {a: cirros, b: cirros}\nlinks: [{ends: [a, b], profile: slow}]\n"


def with_profile(desk: Desk, *, deploy: bool = False) -> None:
    """Make a slice with a link of the profile `slow`."""
    with desk.database.transaction() as state:
        state.inventory = replace(state.inventory, profiles={"slow": Profile(rate="1mbit")})
    desk.ok(desk.api.designs.create("student", read(SLOW)))
    if deploy:
        desk.ok(desk.api.deploy_slice("student", 1000))


@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize("there", [{}, {"renamed": Profile(rate="1mbit")}])
def test_a_profile_of_a_link_is_not_removed(desk: Desk, there: dict[str, Profile], *, deploy: bool) -> None:
    with_profile(desk, deploy=deploy)
    sentence = USES_PROFILE.format("a-b")
    with pytest.raises(FileFault, match=sentence), desk.database.transaction() as state:
        state.inventory = replace(state.inventory, profiles=there)


def test_a_file_without_the_profile_of_a_link_is_not_read(desk: Desk) -> None:
    with_profile(desk)
    text = desk.path.read_text()
    desk.path.write_text(text.replace("  slow:", "  slower:"))
    line = desk.path.read_text().splitlines().index("profiles:") + 1
    with pytest.raises(FileFault, match=f"line {line}: profiles: {USES_PROFILE.format('a-b')}"):
        desk.database.load()
    desk.no(desk.api.get_slice("student", 1000))
    desk.path.write_text(text)
    desk.ok(desk.api.edits.apply("student", 1000, read(SLOW.replace("profile: slow", "name: x"))))
    desk.path.write_text(desk.path.read_text().replace("  slow:", "  slower:"))
    desk.ok(desk.api.get_slice("student", 1000))


def test_a_profile_stays_until_the_change_that_leaves_it_has_ended(desk: Desk) -> None:
    with_profile(desk, deploy=True)

    def remove(event: Event | None = None) -> None:
        if isinstance(event, StepDone):
            with pytest.raises(FileFault, match=USES_PROFILE.format("a-b")):
                remove()
        elif event is None:
            with desk.database.transaction() as state:
                state.inventory = replace(state.inventory, profiles={})

    desk.ok(desk.api.edits.apply("student", 1000, read(SLOW.replace("profile: slow", "rate: 2mbit")), remove))
    remove()

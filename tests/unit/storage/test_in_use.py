"""The section `in_use`: the settings with which the slices of a file were made."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from core.errors import FileFault
from core.inventory import Inventory
from database import Database
from models import Slice, User
from storage.state import State
from tests.unit.conftest import CLOUD

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

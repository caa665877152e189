"""Files of older versions: they load, and what is saved is what these versions would have saved, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.inventory import (
    ConsoleSettings,
    HypervisorSettings,
    ImportSettings,
    InternetSettings,
    Inventory,
    LoginSettings,
    SSHSettings,
    Timeouts,
)
from database import Database
from tests.support.paths import DATA

OLD = sorted((DATA / "old_files").glob("shipped_*.yaml"))
"""`database.yaml` as each version shipped it."""

REWRITTEN = DATA / "old_files" / "cloud_rewritten.yaml"
"""tests/data/cloud.yaml, with each user, slice and flavor as the version before core/records.py wrote it."""

SETTINGS = [DATA / "old_files" / f"settings_{name}.yaml" for name in ("many", "few")]
"""Files with many and with few settings. The version before core/inventory.py had rules wrote `*_rewritten.yaml`."""

OTHERS = Inventory(
    ("10.0.30.1",),
    "10.0.30.1",
    SSHSettings("other", timeouts=Timeouts(silence=9)),
    HypervisorSettings(spread=9),
    InternetSettings(dns="1.1.1.1", allow=("10.9.0.0/16",)),
    LoginSettings(sessions=9),
    ConsoleSettings(("^.",)),
    {"10.0.30.1": "ens9"},
)
"""Settings of which no section is that of such a file."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database.yaml"


def write_again(database: Database) -> None:
    """Change each user, slice and flavor, and change it back: then the text of each is the program's own."""
    for step in (1, -1):
        with database.transaction() as state:
            for user in state.users.values():
                user.quota_vms += step
            for slice_ in state.slices.values():
                slice_.left = [*slice_.left, "x"] if step == 1 else slice_.left[:-1]
            for name in state.flavors:
                record = state.flavors[name].to_dict()
                state.flavors[name] = type(state.flavors[name]).from_dict(record | {"cores": record["cores"] + step})


def test_there_are_old_files() -> None:
    assert len(OLD) == 9


@pytest.mark.parametrize("old", OLD, ids=lambda old: old.stem)
def test_a_shipped_file_loads_and_keeps_its_bytes(old: Path, path: Path) -> None:
    path.write_bytes(old.read_bytes())
    database = Database(path)
    assert {"admin", "student"} == {*database.load().users}
    for step in (1, -1):
        with database.transaction() as state:
            state.next_vm_id += step
    assert path.read_bytes() == old.read_bytes()


def test_records_with_all_and_with_few_keys_are_written_as_before(path: Path) -> None:
    path.write_bytes((DATA / "cloud.yaml").read_bytes())
    write_again(Database(path))
    assert path.read_text() == REWRITTEN.read_text()


@pytest.mark.parametrize("old", SETTINGS, ids=lambda old: old.stem)
def test_settings_and_workers_are_written_as_before(old: Path, path: Path) -> None:
    path.write_bytes(old.read_bytes())
    database = Database(path)
    own = database.load()
    imports = ImportSettings("ubuntu", {"x": "cirros"})
    for inventory, other, step in ((OTHERS, imports, 1), (own.inventory, own.imports, -1)):
        with database.transaction() as state:
            state.inventory, state.imports = inventory, other
            for worker in state.workers.values():
                worker.max_cores += step
    assert path.read_text() == old.with_stem(f"{old.stem}_rewritten").read_text()

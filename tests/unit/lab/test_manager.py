from __future__ import annotations

from pathlib import Path

import pytest

from database import Database
from lab import paths
from lab.manager import ManagerFiles
from lab.topology import hosts

DEBIAN = Path("/cache/debian guest.qcow2")


@pytest.mark.parametrize(("debian", "names"), [(None, ["cirros", "ubuntu"]), (DEBIAN, ["cirros", "ubuntu", "debian"])])
def test_the_flavor_debian_is_there_once_its_image_is(tmp_path: Path, debian: Path | None, names: list[str]) -> None:
    files = ManagerFiles(tmp_path)
    files.write_database(paths.caller(), hosts(2), Path("/cache/small.qcow2"), "tcg", debian)
    flavors = Database(files.database).load().all_flavors
    assert [*flavors] == names
    if debian:
        assert flavors["debian"].image == str(DEBIAN)
        assert (flavors["debian"].devices.seed, flavors["debian"].devices.user) == ("nocloud", "debian")

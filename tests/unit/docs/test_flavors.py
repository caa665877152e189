"""The flavors to paste: each of them is read by the real reader, and the page says which of them were run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from core.flavors import Flavor
from database import Database
from images.folder import require_name
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "flavors.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| ([A-Z][^|]*) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def flavors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Flavor]:
    """Return the flavors of the page, as a database has them that got all blocks pasted."""
    path = tmp_path_factory.mktemp("page") / "database.yaml"
    pasted = {name: flavor for block in BLOCKS for name, flavor in yaml.safe_load(block)["flavors"].items()}
    path.write_text(f"users: {{}}\n{yaml.safe_dump({'flavors': pasted})}images: {{folder: /srv/images}}\n")
    return {name: flavor for name, flavor in Database(path).load().all_flavors.items() if name in pasted}


def test_each_block_can_be_pasted_alone(tmp_path: Path) -> None:
    assert len(BLOCKS) == 4
    for block in BLOCKS:
        (tmp_path / "database.yaml").write_text(f"users: {{}}\n{block}")
        Database(tmp_path / "database.yaml").load()


def test_the_page_has_every_system_that_was_asked_for(flavors: dict[str, Flavor]) -> None:
    wanted = {"frr", "debian", "ubuntu24", "alpine", "vyos", "openwrt", "chr", "openbsd", "opnsense", "windows"}
    assert wanted <= flavors.keys()
    assert len(ROWS) == len(wanted)


def test_a_flavor_lies_in_the_folder_of_the_page_under_a_name_that_image_add_gives(flavors: dict[str, Flavor]) -> None:
    for flavor in flavors.values():
        for path in (flavor.image, flavor.devices.cdrom):
            if path:
                assert path.startswith("/srv/images/")
                require_name(path.rpartition("/")[2])


def test_a_seed_comes_with_its_user_and_a_console_with_its_pattern(flavors: dict[str, Flavor]) -> None:
    for name, flavor in flavors.items():
        devices = flavor.devices
        assert (devices.seed == "nocloud") == (name in {"frr", "debian", "ubuntu24", "alpine"}), name
        assert bool(devices.ready) == (devices.console == "serial"), name
        for pattern in devices.ready:
            re.compile(pattern)


def test_the_page_says_of_each_system_whether_it_was_run() -> None:
    """Only the image that is built from Debian's packages can be run without a download."""
    assert {system for system, *_, run in ROWS if run != "not run here"} <= {"Debian with FRR"}

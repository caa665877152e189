"""Base images as an operator handles them: a packed raw disk becomes one, is staged, boots a guest, and is removed."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import Lab, paths
from tests.support.acts import read_log
from tests.support.lab.visitor import Guest, Menu, empty_database, traces
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

NAME = "router.qcow2"
WORKERS = ("10.0.10.1", "10.0.10.2")
FILE = "slice: routers\nvms: {r1: {flavor: router}, r2: {flavor: router}}\nlinks: [r1 - r2]\n"


class Operator:
    """The commands of an operator on a database of their own, whose images are in a folder of their own."""

    def __init__(self, lab: Lab, home: Path) -> None:
        self.lab = lab
        self.home = home
        self.images = home / "images"
        self.database = empty_database(lab, home / "database.yaml", self._own_folder)

    def _own_folder(self, record: dict[str, Any]) -> None:
        record["images"] = {"folder": str(self.images)}

    def run(self, *words: str, text: str = "") -> tuple[int, str, str]:
        argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(self.database), *words]
        process = self.lab.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate(text.encode(), timeout=240)
        return process.returncode, output.decode(), errors.decode()

    def done(self, *words: str, text: str = "") -> str:
        status, output, errors = self.run(*words, text=text)
        assert status == 0, errors
        return output

    def refused(self, *words: str) -> str:
        status, _, errors = self.run(*words)
        assert status == 1
        return errors

    def listed(self) -> dict[str, Any]:
        """Return the image of the tests as the list has it."""
        (image,) = (each for each in json.loads(self.done("image", "list", "--json"))["images"] if each["name"] == NAME)
        return dict(image)

    def name_in_flavor(self, *, named: bool) -> None:
        """Write the flavor `router` into the file by hand, or take it out."""
        record = yaml.safe_load(self.database.read_text(encoding="utf-8"))
        router = {"cores": 1, "ram_gb": 0.25, "disk_gb": 1, "image": str(self.images / NAME)}
        record["flavors"].pop("router", None)
        if named:
            record["flavors"]["router"] = router
        self.database.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")

    def on_workers(self) -> list[bool]:
        """Return for each worker whether anything of the image is there, also hidden."""
        command = ["sh", "-c", f"ls -A ~ubuntu/vm_images 2>/dev/null | grep -qF {NAME}"]
        return [self.lab.exec(worker, command, check=False).returncode == 0 for worker in ("worker1", "worker2")]


@pytest.fixture
def operator(lab: Lab, home: Path) -> Iterator[Operator]:
    desk = Operator(lab, home)
    yield desk
    desk.run("delete", "routers", "--yes")
    desk.name_in_flavor(named=False)
    desk.run("image", "remove", NAME, "--yes")


@pytest.fixture(scope="module")
def packed(lab: Lab, home: Path) -> Path:
    """Return the lab's guest image as a raw disk, packed by gzip."""
    raw, packed = home / "guest.raw", home / "guest.raw.gz"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", lab.image, raw], check=True)
    with raw.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    raw.unlink()
    paths.caller().own(packed)
    return packed


def test_a_packed_raw_disk_is_staged_boots_and_is_removed(lab: Lab, operator: Operator, packed: Path) -> None:
    said = operator.done("image", "add", str(packed), "--name", NAME)
    assert said.startswith(f"Image added! Name: {NAME}, ")
    assert "is there already" in operator.refused("image", "add", str(packed), "--name", NAME)
    operator.done("image", "stage", NAME)  # which makes the workers' folder of images
    operator.done("image", "remove", NAME, "--yes")
    before = traces(lab)

    operator.done("image", "add", str(packed), "--name", NAME)
    staged = f"Image staged! Name: {NAME}, brought to: 10.0.10.1, 10.0.10.2, already on: no worker\n"
    assert operator.done("image", "stage", NAME) == staged
    assert operator.on_workers() == [True, True]
    image = operator.listed()
    assert image["workers"] == dict.fromkeys(WORKERS, image["size"])
    assert (image["flavors"], image["vms"], image["problem"]) == ([], [], "")

    operator.name_in_flavor(named=True)
    assert "is the image of flavor router" in operator.refused("image", "remove", NAME, "--yes")
    operator.done("create", "-", text=FILE)
    operator.done("deploy", "routers")
    menu = Menu(lab, "admin", operator.database)
    slice_id = next(iter(yaml.safe_load(operator.database.read_text(encoding="utf-8"))["slices"]))
    seen = menu.topology(int(slice_id))
    menu.close()
    guests = {name: Guest(lab, int(slice_id), vm) for name, vm in seen.items()}
    assert guests["r1"].reaches(seen["r2"].addresses["eth1"])
    for guest in guests.values():
        guest.console.close()

    assert len(operator.listed()["vms"]) == 2
    operator.name_in_flavor(named=False)
    assert f"2 VMs are built on {NAME}; delete slice {slice_id} first" in operator.refused("image", "remove", NAME)
    operator.done("delete", "routers", "--yes")
    assert "without a terminal to ask on, it needs --yes" in operator.refused("image", "remove", NAME)
    assert operator.done("image", "remove", NAME, "--yes") == "Image removed\n"
    assert operator.on_workers() == [False, False]
    assert list(operator.images.iterdir()) == []
    assert traces(lab) == before
    acts = [
        entry["result"] for entry in read_log(operator.database) if entry["action"] in {"stage image", "remove image"}
    ]
    assert acts[:2] == ["begun", f"{NAME}: brought to 10.0.10.1, 10.0.10.2"]
    assert acts[-2:] == ["begun", f"{NAME}: removed"]


def test_an_image_under_a_disk_of_an_older_file_stays(operator: Operator, packed: Path) -> None:
    """The database was put back: it does not know the disks that are built on the image."""
    operator.done("image", "add", str(packed), "--name", NAME)
    operator.name_in_flavor(named=True)
    operator.done("create", "-", text=FILE)
    known = operator.database.read_text(encoding="utf-8")
    record = yaml.safe_load(known)
    slice_id, slice_ = record["slices"].popitem()
    record["users"][slice_["owner"]] |= {"slices": [], "used_vms": 0}
    operator.database.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    operator.name_in_flavor(named=False)
    said = operator.refused("image", "remove", NAME, "--yes")
    assert f"is built on {NAME}, and database.yaml does not know it" in said
    assert operator.on_workers() == [True, True]
    assert (operator.images / NAME).exists()
    operator.database.write_text(known, encoding="utf-8")
    operator.done("delete", slice_id, "--yes")
    operator.name_in_flavor(named=False)
    assert operator.done("image", "remove", NAME, "--yes") == "Image removed\n"


def test_a_session_killed_while_it_stages_leaves_nothing_after_the_next_one(lab: Lab, operator: Operator) -> None:
    """A worker keeps an unfinished copy at most; the doctor finds it, and the next staging replaces it."""
    large = operator.home / "large.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=full", large, "300M"], check=True)
    paths.caller().own(large)
    operator.done("image", "add", str(large), "--name", NAME)
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(operator.database), "image", "stage", NAME]
    process = lab.popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(operator.on_workers()):
        pass
    process.kill()
    process.wait()
    operator.run("doctor", "--fix", "--yes")
    assert operator.run("doctor")[0] == 0
    assert operator.done("image", "stage", NAME).startswith("Image staged!")
    assert operator.listed()["workers"] == dict.fromkeys(WORKERS, large.stat().st_size)
    operator.done("image", "remove", NAME, "--yes")
    assert operator.on_workers() == [False, False]

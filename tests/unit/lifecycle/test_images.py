"""Base images: added to the manager, brought to workers, listed and removed, on fake hosts and a real folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import HostUnreachable, Refused
from core.results import Failure
from images.folder import Folder
from lifecycle.images import Added, BaseImage, Listing, Removed, Staged
from models import ADMIN
from remote.plan import Upload
from tests.support.acts import read_log
from tests.support.designs import FLAVOR
from tests.support.desk import WORKERS, Desk

FIRST, SECOND = WORKERS
ROUTER = "router.qcow2"

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs the package qemu-utils")


@pytest.fixture
def admins(desk: Desk, tmp_path: Path) -> Desk:
    """Return a cloud with an admin and a folder of images of its own."""
    desk.api.accounts.set_role("admin", ADMIN)
    change(desk, images={"folder": str(tmp_path / "images")})
    return desk


def flavor(image: str) -> dict[str, object]:
    return FLAVOR | {"image": image}


def change(desk: Desk, **sections: Any) -> None:
    """Change sections of the file by hand, as an operator does."""
    record = yaml.safe_load(desk.path.read_text())
    for section, value in sections.items():
        record.setdefault(section, {}).update(value)
    desk.path.write_text(yaml.safe_dump(record, sort_keys=False))


def qcow2(path: Path) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "2M"], check=True)
    return path


def added(desk: Desk, name: str = ROUTER) -> Path:
    value = desk.ok(desk.api.images.add("admin", str(qcow2(desk.path.with_name("source.qcow2"))), name))
    assert isinstance(value, Added)
    return value.made.path


def listed(desk: Desk) -> dict[str, BaseImage]:
    listing = desk.ok(desk.api.images.list("admin"))
    assert isinstance(listing, Listing)
    return {image.name: image for image in listing.images}


def on_worker(desk: Desk, address: str) -> list[str]:
    files = desk.cloud.hosts[address].files
    return sorted(path for path in files if path.startswith("vm_images/") and path.count("/") == 1)


def results(desk: Desk, action: str) -> list[str]:
    return [entry["result"] for entry in read_log(desk.path) if entry["action"] == action]


# --- add --------------------------------------------------------------------------------------------------------------


@pytest.mark.on_a_file
def test_an_image_is_added_to_the_folder_of_the_settings(admins: Desk, tmp_path: Path) -> None:
    path = added(admins)
    assert path == tmp_path / "images" / ROUTER
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert results(admins, "add image") == [f"{ROUTER}: added, SHA-256 {digest}"]


@pytest.mark.on_a_file
def test_a_check_adds_nothing_and_leaves_no_line_in_the_log(admins: Desk, tmp_path: Path) -> None:
    value = admins.ok(admins.api.images.check("admin", str(qcow2(tmp_path / "a.qcow2"))))
    assert value.made.path == tmp_path / "images" / "a.qcow2"
    assert not value.made.path.exists()
    assert results(admins, "add image") == []


@pytest.mark.on_a_file
def test_the_file_name_of_another_image_is_refused(admins: Desk, tmp_path: Path) -> None:
    """A worker knows an image by its file name alone."""
    change(admins, flavors={"router": flavor("/srv/images/router.qcow2")})
    source = str(qcow2(tmp_path / "a.qcow2"))
    said = admins.no(admins.api.images.add("admin", source, ROUTER))
    assert "router.qcow2 is the file name of another image, /srv/images/router.qcow2" in said
    assert Folder(admins.database.load().inventory.images).names == []


@pytest.mark.on_a_file
def test_the_image_of_a_flavor_is_added_where_it_expects_it(admins: Desk, tmp_path: Path) -> None:
    change(admins, flavors={"router": flavor(str(tmp_path / "images" / ROUTER))})
    assert added(admins).exists()


@pytest.mark.on_a_file
@pytest.mark.parametrize("name", ["a/b.qcow2", "../b.qcow2", "..", "\udcff", "-rf"])
def test_a_name_is_never_a_path(admins: Desk, tmp_path: Path, name: str) -> None:
    assert "cannot be the name" in admins.no(admins.api.images.add("admin", str(qcow2(tmp_path / "a.qcow2")), name))
    assert not (tmp_path / "images").exists()


@pytest.mark.on_a_file
def test_an_image_under_disks_is_not_replaced(admins: Desk, tmp_path: Path) -> None:
    path = added(admins)
    kept = path.stat()
    assert "is there already" in admins.no(admins.api.images.add("admin", str(qcow2(tmp_path / "b.qcow2")), ROUTER))
    assert path.stat() == kept


# --- stage ------------------------------------------------------------------------------------------------------------


@pytest.mark.on_a_file
def test_an_image_is_brought_to_all_workers(admins: Desk) -> None:
    path = added(admins)
    assert admins.ok(admins.api.images.stage("admin", ROUTER)) == Staged(ROUTER, WORKERS, ())
    assert (
        on_worker(admins, FIRST) == on_worker(admins, SECOND) == ["vm_images/.router.qcow2.seal", f"vm_images/{ROUTER}"]
    )
    assert admins.ok(admins.api.images.stage("admin", ROUTER)) == Staged(ROUTER, (), WORKERS)
    assert results(admins, "stage image") == [
        "begun",
        "router.qcow2: brought to 10.0.10.1, 10.0.10.2",
        "begun",
        "router.qcow2: brought to no worker, all have it",
    ]
    assert admins.cloud.hosts[FIRST].locks[-1] == "images"
    assert path.exists()


@pytest.mark.on_a_file
def test_only_the_named_workers_get_an_image(admins: Desk) -> None:
    added(admins)
    assert admins.ok(admins.api.images.stage("admin", ROUTER, [SECOND, SECOND])) == Staged(ROUTER, (SECOND,), ())
    assert on_worker(admins, FIRST) == []


@pytest.mark.on_a_file
def test_the_plan_is_that_of_a_vms_disk_and_changes_nothing(admins: Desk) -> None:
    path = added(admins)
    runs = [host.runs for host in admins.cloud.hosts.values()]
    plan = admins.ok(admins.api.images.plan_stage("admin", ROUTER))
    assert [step.host for step in plan.steps] == [*WORKERS]
    assert len(plan.stages) == 1
    assert {action.source for step in plan.steps for action in step.do if isinstance(action, Upload)} == {str(path)}
    assert [host.runs for host in admins.cloud.hosts.values()] == runs


@pytest.mark.on_a_file
@pytest.mark.parametrize(
    ("name", "workers", "words"),
    [
        ("none.qcow2", (), "There is no base image none.qcow2; image list shows all"),
        (ROUTER, ("10.0.10.9",), r"10.0.10.9: no such worker; there are 10.0.10.1, 10.0.10.2"),
    ],
)
def test_what_is_not_there_is_refused(admins: Desk, name: str, workers: tuple[str, ...], words: str) -> None:
    added(admins)
    assert admins.no(admins.api.images.stage("admin", name, workers)) == words


@pytest.mark.on_a_file
def test_a_lost_worker_stops_no_other_and_is_named(admins: Desk) -> None:
    added(admins)
    admins.cloud.hosts[SECOND].dead = True
    answer = admins.api.images.stage("admin", ROUTER)
    assert admins.no(answer) == "10.0.10.2 does not answer: no answer on port 22 in time; router.qcow2 is on 10.0.10.1"
    assert isinstance(answer[1], Failure)
    assert isinstance(answer[1].error, HostUnreachable)
    assert f"vm_images/{ROUTER}" in on_worker(admins, FIRST)


@pytest.mark.on_a_file
def test_a_worker_that_was_written_off_gets_nothing(admins: Desk) -> None:
    added(admins)
    admins.cloud.hosts[SECOND].dead = True
    admins.api.hosts.forget(SECOND)
    assert admins.ok(admins.api.images.stage("admin", ROUTER)) == Staged(ROUTER, (FIRST,), ())


@pytest.mark.on_a_file
def test_two_sessions_do_not_change_images_at_once(admins: Desk) -> None:
    added(admins)
    with admins.database.claim_images():
        for answer in (admins.api.images.stage("admin", ROUTER), admins.api.images.remove("admin", ROUTER)):
            assert "by another session; try again" in admins.no(answer)
    assert not admins.database.images_are_claimed()


# --- list -------------------------------------------------------------------------------------------------------------


@pytest.mark.on_a_file
def test_a_list_says_what_names_an_image_and_who_has_it(admins: Desk) -> None:
    path = added(admins)
    change(admins, flavors={"cirros": flavor(str(path)), "router": flavor(str(path))})
    admins.ring(2)
    image = listed(admins)[ROUTER]
    assert (image.path, image.size, image.virtual_size) == (str(path), path.stat().st_size, 2 << 20)
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (image.flavors, image.vms) == (("cirros", "router"), (1001, 1002))
    assert {*image.workers} == {*WORKERS}


@pytest.mark.on_a_file
def test_a_list_has_images_that_the_manager_lacks(admins: Desk) -> None:
    admins.cloud.hosts[FIRST].files["vm_images/old.img"] = "12345"
    images = listed(admins)
    assert images["old.img"].workers == {FIRST: 5}
    assert (images["old.img"].size, images["old.img"].sha256) == (None, None)
    assert images["focal-server-cloudimg-amd64.img"].flavors == ("ubuntu",)


@pytest.mark.on_a_file
def test_a_file_that_is_no_base_image_is_listed_with_the_reason(admins: Desk, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.raw").write_bytes(bytes(1024))
    assert "is not a qcow2 file; make one of it" in listed(admins)["a.raw"].problem


@pytest.mark.on_a_file
def test_a_worker_that_does_not_answer_is_named(admins: Desk) -> None:
    admins.cloud.hosts[SECOND].dead = True
    listing = admins.ok(admins.api.images.list("admin"))
    assert listing.unseen == {SECOND: "10.0.10.2 does not answer: no answer on port 22 in time"}


@pytest.mark.on_a_file
def test_a_worker_that_answers_nonsense_is_named(admins: Desk) -> None:
    admins.cloud.hosts[FIRST].faults["base images"] = (0, "nonsense\n", "")
    assert "gives an invalid answer" in admins.ok(admins.api.images.list("admin")).unseen[FIRST]


# --- remove -----------------------------------------------------------------------------------------------------------


@pytest.mark.on_a_file
def test_an_image_is_removed_from_workers_and_manager(admins: Desk) -> None:
    path = added(admins)
    admins.ok(admins.api.images.stage("admin", ROUTER, [FIRST]))
    plan = admins.ok(admins.api.images.plan_removal("admin", ROUTER))
    assert [(step.host, step.objects, step.undo) for step in plan.steps] == [(w, (ROUTER,), ()) for w in WORKERS]
    assert admins.ok(admins.api.images.remove("admin", ROUTER)) == Removed(ROUTER, (FIRST,))
    assert not path.exists()
    assert on_worker(admins, FIRST) == []
    assert (
        admins.no(admins.api.images.remove("admin", ROUTER)) == f"There is no base image {ROUTER}; image list shows all"
    )


@pytest.mark.on_a_file
def test_an_image_that_only_a_worker_has_is_removed(admins: Desk) -> None:
    admins.cloud.hosts[SECOND].files["vm_images/old.img"] = "12345"
    assert admins.ok(admins.api.images.remove("admin", "old.img")) == Removed("old.img", (SECOND,))


@pytest.mark.on_a_file
def test_an_image_that_a_flavor_names_stays(admins: Desk) -> None:
    path = added(admins)
    change(admins, flavors={"router": flavor(str(path))})
    said = admins.no(admins.api.images.remove("admin", ROUTER))
    assert said.startswith("router.qcow2 is the image of flavor router; take the flavor out of the database")
    assert path.exists()


@pytest.mark.on_a_file
def test_an_image_with_vms_on_it_stays(admins: Desk) -> None:
    path = added(admins)
    change(admins, flavors={"cirros": flavor(str(path))})
    admins.ring(2)
    change(admins, flavors={"cirros": FLAVOR})
    said = admins.no(admins.api.images.remove("admin", ROUTER))
    assert said == "2 VMs are built on router.qcow2; delete slice 1000 first"
    assert path.exists()
    assert f"vm_images/{ROUTER}" in on_worker(admins, FIRST)


@pytest.mark.on_a_file
def test_a_lost_worker_keeps_the_image_on_the_manager(admins: Desk) -> None:
    path = added(admins)
    admins.ok(admins.api.images.stage("admin", ROUTER))
    admins.cloud.hosts[SECOND].dead = True
    said = admins.no(admins.api.images.remove("admin", ROUTER))
    assert said.startswith(
        "10.0.10.2 does not answer: no answer on port 22 in time; router.qcow2 stays on 10.0.10.2 and"
    )
    assert path.exists()
    admins.cloud.hosts[SECOND].dead = False
    assert admins.ok(admins.api.images.remove("admin", ROUTER)) == Removed(ROUTER, (SECOND,))


@pytest.mark.on_a_file
def test_a_folder_that_may_not_be_changed_is_named(admins: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = added(admins)

    def refused(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(Refused, match=r"cannot be removed \(Permission denied\)"):
        Folder(admins.database.load().inventory.images).remove(path.name)

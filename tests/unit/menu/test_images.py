"""`cli.py image` and entry 21: their output, questions and exit statuses, on fake hosts and a real folder."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from core.errors import Refused
from menu import commands, session
from menu.arguments import parser
from menu.entries import ENTRIES
from menu.keyboard import Keyboard, Lines
from models import ADMIN
from tests.support.desk import WORKERS, Desk
from tests.support.playing import screen_of

FIRST, SECOND = WORKERS

pytestmark = [
    pytest.mark.on_a_file,
    pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs the package qemu-utils"),
]


@pytest.fixture
def admins(desk: Desk, tmp_path: Path) -> Desk:
    """Return a cloud with an admin, a folder of images of its own, and a file to make an image of."""
    desk.api.accounts.set_role("admin", ADMIN)
    with desk.path.open("a") as file:
        file.write(f"images: {{folder: {tmp_path}/images}}\nlogin: {{shipped_passwords: keep}}\n")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "router.qcow2", "2M"], check=True)
    return desk


def run(desk: Desk, *words: str) -> tuple[int, str]:
    """Return exit status and output of a command; raise the error that it ends with."""
    output = io.BytesIO()
    screen = screen_of(output, width=200)
    status = commands.carry_out(desk.api, parser(desk.path).parse_args(["image", *words]), screen)
    return status, output.getvalue().decode()


def play(desk: Desk, script: str) -> str:
    """Return the output of the menu, played on these lines."""
    output = io.BytesIO()
    screen = screen_of(output)
    with tempfile.TemporaryFile() as file:
        file.write(script.encode())
        file.seek(0)
        session.run(desk.api, screen, Keyboard(Lines(file.fileno()), screen), ENTRIES)
    return output.getvalue().decode()


def add(desk: Desk) -> str:
    status, output = run(desk, "add", str(desk.path.with_name("router.qcow2")))
    assert status == 0
    return output


# --- commands ---------------------------------------------------------------------------------------------------------


def test_an_added_image_is_shown_with_a_flavor_that_uses_it(admins: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    said = add(admins)
    assert said.startswith("Image added! Name: router.qcow2, 0.2 MiB, disk: 2.0 MiB, SHA-256: ")
    path = admins.path.with_name("images") / "router.qcow2"
    hint = f"router: {{cores: 1, ram_gb: 1, disk_gb: 0.01, image: {path}}}"
    assert hint in capfd.readouterr().err
    text = admins.path.read_text().replace("flavors:", f"flavors:\n  {hint}", 1)
    admins.path.write_text(text)
    assert admins.database.load().all_flavors["router"].image == str(path)


def test_a_dry_run_adds_nothing(admins: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    status, said = run(admins, "add", str(admins.path.with_name("router.qcow2")), "--dry-run", "--name", "a.qcow2")
    assert (status, said.partition(" Name")[0]) == (0, "Image can be added!")
    assert "Name: a.qcow2, " in said
    assert capfd.readouterr().err == "Nothing was added: --dry-run\n"
    assert run(admins, "list", "--json")[1].count("router.qcow2") == 0


def test_a_file_that_is_none_is_one_sentence(admins: Desk) -> None:
    with pytest.raises(Refused, match=r"^/none cannot be read"):
        run(admins, "add", "/none")


def test_only_admins_add_images(admins: Desk) -> None:
    with pytest.raises(Refused, match="Only admins change base images"):
        run(admins, "add", "/none", "--as", "student")


def test_a_list_has_a_line_for_each_image(admins: Desk) -> None:
    add(admins)
    run(admins, "stage", "router.qcow2", FIRST)
    admins.cloud.hosts[SECOND].files["vm_images/old.img"] = "12345"
    status, said = run(admins, "list")
    lines = {line.partition(":")[0]: line for line in said.splitlines()}
    assert status == 0
    assert lines["Image router.qcow2"].endswith("; flavors: -; workers: 10.0.10.1 (another file); 0 VMs")
    assert lines["Image old.img"] == "Image old.img: -, disk -, SHA-256 -; flavors: -; workers: 10.0.10.2; 0 VMs"
    assert "flavors: ubuntu" in lines["Image focal-server-cloudimg-amd64.img"]


def test_a_list_as_json_has_all_facts(admins: Desk) -> None:
    add(admins)
    _, said = run(admins, "list", "--json")
    listing = json.loads(said)
    (image,) = (each for each in listing["images"] if each["name"] == "router.qcow2")
    assert {*image} == {
        *("name", "path", "size", "virtual_size", "sha256", "flavors", "workers", "vms", "problem"),
    }
    assert (image["virtual_size"], image["flavors"], image["vms"], listing["unseen"]) == (2 << 20, [], [], {})


def test_a_list_without_a_worker_warns(admins: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    admins.cloud.hosts[SECOND].dead = True
    assert run(admins, "list")[0] == 3
    assert "Warning: 10.0.10.2 does not answer" in capfd.readouterr().err


def test_staging_says_where_the_image_is(admins: Desk) -> None:
    add(admins)
    first = "Image staged! Name: router.qcow2, brought to: 10.0.10.1, already on: no worker\n"
    assert run(admins, "stage", "router.qcow2", FIRST) == (0, first)
    both = "Image staged! Name: router.qcow2, brought to: 10.0.10.2, already on: 10.0.10.1\n"
    assert run(admins, "stage", "router.qcow2") == (0, both)


@pytest.mark.parametrize(
    ("action", "counts"),
    [
        ("stage", "2 changes and 0 checks on 2 hosts to stage router.qcow2"),
        ("remove", "2 changes on 2 hosts to remove router.qcow2; then it is removed from the manager"),
    ],
)
def test_a_plan_is_shown_and_nothing_is_changed(admins: Desk, action: str, counts: str) -> None:
    add(admins)
    runs = [host.runs for host in admins.cloud.hosts.values()]
    status, said = run(admins, action, "router.qcow2", "--dry-run")
    assert (status, said.splitlines()[0]) == (0, counts)
    assert [host.runs for host in admins.cloud.hosts.values()] == runs


def test_removing_needs_a_yes(admins: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    add(admins)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(Refused, match=r"image remove asks before it removes router.qcow2; without a terminal"):
        run(admins, "remove", "router.qcow2")
    assert run(admins, "remove", "router.qcow2", "--yes") == (0, "Image removed\n")
    with pytest.raises(Refused, match=r"There is no base image router.qcow2"):
        run(admins, "remove", "router.qcow2", "--yes")


# --- the menu ---------------------------------------------------------------------------------------------------------


def test_only_admins_see_the_entry(admins: Desk) -> None:
    assert "\n21. Images and flavors\n" in play(admins, "admin\nadmin\n0\n")
    said = play(admins, "student\nadmin\n21\n0\n")
    assert "Images and flavors" not in said
    highest = max(entry.number for entry in ENTRIES if not entry.for_admins)
    assert f"The choice is a whole number from 0 to {highest}" in said


def test_an_admin_views_stages_and_removes(admins: Desk) -> None:
    add(admins)
    said = play(admins, "admin\nadmin\n21\n2\nrouter.qcow2\n21\n1\n21\n3\nrouter.qcow2\ny\n21\n..\n0\n")
    assert "Image staged! Name: router.qcow2, brought to: 10.0.10.1, 10.0.10.2, already on: no worker" in said
    assert "Flavor ubuntu: 1 core, 0.5 GiB RAM, 2.2 GiB disk, base image /tmp/vm_images/focal" in said
    assert "devices: seed nocloud" in said
    assert "Image router.qcow2: 0.2 MiB, disk 2.0 MiB" in said
    assert "An image is added on the manager, with: python3 cli.py image add PATH" in said
    assert "Image removed" in said


@pytest.mark.parametrize("answer", ["n", ".."])
def test_nothing_is_removed_without_a_yes(admins: Desk, answer: str) -> None:
    add(admins)
    assert "Image removed" not in play(admins, f"admin\nadmin\n21\n3\nrouter.qcow2\n{answer}\n0\n")
    assert admins.path.with_name("images").joinpath("router.qcow2").exists()


def test_an_image_that_is_not_there_is_one_sentence(admins: Desk) -> None:
    said = play(admins, "admin\nadmin\n21\n3\nnone\n21\n2\nnone\n0\n")
    assert said.count("Error: There is no base image none; image list shows all") == 2

"""An operator edits database.yaml while menus are open: each use-case works on the file as it is at that moment."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
import yaml

from core.errors import FileFault
from core.inventory import SSHSettings
from database import Database
from menu import session as menu
from menu.entries import ENTRIES
from menu.keyboard import Keyboard, Lines
from menu.screen import Screen
from orchestrator import OrchestratorAPI
from remote.known_hosts import SharedKeys
from tests.support.designs import FLAVOR
from tests.support.desk import NETWORK, PASSWORD_HASH, WORKERS, ConsoleHost, Desk

pytestmark = pytest.mark.on_a_file

ADDED = "10.0.10.4"
OTHER_NODE = "10.0.10.9"


def edit(desk: Desk, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the file as an operator does with an editor."""
    record = yaml.safe_load(desk.path.read_text())
    change(record)
    desk.path.write_text(yaml.safe_dump(record, sort_keys=False))


def add_worker(desk: Desk) -> None:
    desk.cloud.hosts[ADDED] = ConsoleHost(ADDED)
    edit(desk, lambda record: record["workers_list"].append(ADDED))


# --- Workers ----------------------------------------------------------------------------------------------------------


def test_a_worker_added_by_hand_stays_and_gets_the_next_vm(desk: Desk) -> None:
    """Another session has measured the new worker already when the open menu looks at the workers."""
    desk.ring(2)
    add_worker(desk)
    other = OrchestratorAPI(Database(desk.path), desk.cloud.connect)  # type: ignore[arg-type]
    assert ADDED in desk.ok(other.discover_workers())
    assert ADDED in desk.ok(desk.api.discover_workers())
    assert ADDED in desk.database.load().workers
    vm = desk.ok(desk.api.add_vm_to_slice("student", 1000, "new", "cirros"))
    assert vm.worker_ip == ADDED
    assert [path for path in desk.cloud.hosts[ADDED].files if path.endswith("new_img.qcow2")]


def test_a_worker_added_by_hand_is_measured_by_an_open_menu(desk: Desk) -> None:
    add_worker(desk)
    assert desk.ok(desk.api.discover_workers())[ADDED].max_cores
    assert desk.cloud.hosts[ADDED].runs == 1


def test_a_worker_taken_out_by_hand_gets_no_further_vm_and_gives_up_those_it_has(desk: Desk) -> None:
    desk.ring(2)
    edit(desk, lambda record: record["workers_list"].remove(WORKERS[0]))
    assert [*desk.ok(desk.api.discover_workers())] == [WORKERS[1]]
    vms = [desk.ok(desk.api.add_vm_to_slice("student", 1000, f"new{n}", "cirros")) for n in range(2)]
    assert {vm.worker_ip for vm in vms} == {WORKERS[1]}
    desk.ok(desk.api.deploy_slice("student", 1000))
    assert desk.cloud.hosts[WORKERS[0]].processes
    desk.ok(desk.api.delete_slice("student", 1000))
    assert not desk.cloud.hosts[WORKERS[0]].processes


def test_doctor_and_proof_examine_a_worker_added_by_hand(desk: Desk) -> None:
    desk.api.doctor.examine()
    desk.api.prover.prove()
    add_worker(desk)
    desk.api.doctor.examine()
    looks = desk.cloud.hosts[ADDED].runs
    assert looks
    desk.api.prover.prove()
    assert desk.cloud.hosts[ADDED].runs > looks


def test_host_forget_knows_a_worker_added_by_hand(desk: Desk) -> None:
    hosts = desk.api.hosts
    add_worker(desk)
    desk.cloud.hosts[ADDED].dead = True
    assert hosts.examine(ADDED).losses == ()


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_settings_of_guests_count_from_the_next_use_case_on(desk: Desk) -> None:
    desk.ring(2)
    before = {step.title for step in desk.ok(desk.api.plan_slice("student", 1000)).steps}
    edit(desk, lambda record: record.update(hypervisor={"accel": "tcg", "cpu_overcommit": 0.1}))
    after = {step.title for step in desk.ok(desk.api.plan_slice("student", 1000)).steps}
    assert before - after == {"accelerator"}
    sentence = desk.no(desk.api.add_vm_to_slice("student", 1000, "new", "cirros"))
    assert "No worker has room" in sentence, "a tenth of a core for each core of a worker"


def test_the_bounds_of_users_count_from_the_next_use_case_on(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("student", "one"))
    edit(desk, lambda record: record.update(login={"slices": 1, "shipped_passwords": "keep"}))
    assert "you have 1 slice, and 1 is allowed" in desk.no(desk.api.create_slice("student", "two"))
    assert not desk.api.needs_new_password("student", "student")


def test_no_link_gets_the_vlan_that_the_file_names_for_the_internet(desk: Desk) -> None:
    edit(desk, lambda record: record.update(internet={"vlan_id": 100}))
    slice_ = desk.ring(2)
    assert [link.vlan_id for link in slice_.links] == [101, 102]
    assert {vm.interfaces[0].vlan_id for vm in slice_.vms} == {100}


def test_hosts_are_reached_by_the_settings_that_the_file_has_now(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[SSHSettings] = []

    class RecordingHost(ConsoleHost):
        def __init__(self, address: str, settings: SSHSettings, _shared: SharedKeys | None) -> None:
            super().__init__(address)
            used.append(settings)

        def use(self, settings: SSHSettings) -> None:
            used.append(settings)

    monkeypatch.setattr("remote.ssh.SSHHost", RecordingHost)
    api = OrchestratorAPI(Database(desk.path))
    desk.ok(api.discover_workers())
    assert {settings.port for settings in used} == {22}
    used.clear()
    edit(desk, lambda record: record.update(ssh={"port": 2222, "timeouts": {"connect": 1}}))
    desk.ok(api.discover_workers())
    assert {(settings.port, settings.timeouts.connect) for settings in used} == {(2222, 1)}


# --- What must not change while there are slices ----------------------------------------------------------------------


CHANGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "network_node": ({"network_node": OTHER_NODE}, f'"{NETWORK}"', f'"{OTHER_NODE}"'),
    "ssh.user": ({"ssh": {"user": "cloud"}}, '"ubuntu"', '"cloud"'),
    "hypervisor.images_dir": ({"hypervisor": {"images_dir": "/srv/vms"}}, '"~/vm_images"', '"/srv/vms"'),
    "internet.vlan_id": ({"internet": {"vlan_id": 401}}, "400", "401"),
    "internet.cidr": (
        {"internet": {"cidr": "10.70.7.0/24", "gateway": "10.70.7.1"}},
        '"10.60.7.0/24"',
        '"10.70.7.0/24"',
    ),
    "internet.gateway": ({"internet": {"gateway": "10.60.7.254"}}, '"10.60.7.1"', '"10.60.7.254"'),
    "internet.uplink": ({"internet": {"uplink": "eth7"}}, '"ens3"', '"eth7"'),
}
"""Each setting that slices depend on: a change of it, the value in use and the new one as sentences show them."""

KEYS = {"ssh.user": "ssh_user"}
"""The settings that have another name in the section `in_use`."""


@pytest.mark.parametrize("setting", CHANGES)
def test_a_setting_that_slices_depend_on_is_refused_until_it_is_put_back(desk: Desk, setting: str) -> None:
    desk.ok(desk.api.create_slice("student", "lab"))
    change, old, new = CHANGES[setting]
    before = desk.path.read_text()
    edit(desk, lambda record: record.update(change))
    with pytest.raises(FileFault) as caught:
        desk.database.load()
    where, _, why = str(caught.value).partition(f": {setting}: ")
    line = int(where.removeprefix(f"{desk.path}, line "))
    assert setting.rpartition(".")[2] in desk.path.read_text().splitlines()[line - 1]
    assert why.startswith(
        f"{new} cannot replace {old} while there are slices (1000): write {old} again, or delete the slices first; "
        f"where the old one is lost for good, write {new} as {KEYS.get(setting, setting.rpartition('.')[2])} into the "
        "section in_use, too"
    )
    assert desk.no(desk.api.list_slices("student")).startswith("The cloud's own files have a fault")
    desk.path.write_text(before)
    assert desk.slice().slice_id == 1000


@pytest.mark.parametrize("setting", CHANGES)
def test_without_slices_every_setting_can_change(desk: Desk, setting: str) -> None:
    desk.ok(desk.api.create_slice("student", "lab"))
    desk.ok(desk.api.delete_slice("student", 1000))
    change, _, _ = CHANGES[setting]
    edit(desk, lambda record: record.update(change))
    desk.ok(desk.api.list_slices("student"))
    desk.ok(desk.api.create_slice("student", "next"))
    desk.ok(desk.api.list_slices("student"))
    edit(desk, lambda record: record.update(network_node=NETWORK, ssh={}, hypervisor={}, internet={}))
    assert not desk.api.list_slices("student")[0], "the new slice was made with the new setting"


@pytest.mark.parametrize("setting", CHANGES)
def test_an_operator_who_moved_everything_edits_the_section_as_well(desk: Desk, setting: str) -> None:
    desk.ok(desk.api.create_slice("student", "lab"))
    change, _, _ = CHANGES[setting]

    def edit_both(record: dict[str, Any]) -> None:
        record.update(change)
        for section, value in change.items():
            values = value if isinstance(value, dict) else {section: value}
            record["in_use"] |= {KEYS.get(f"{section}.{key}", key): each for key, each in values.items()}

    edit(desk, edit_both)
    assert desk.slice().slice_id == 1000


# --- Questions of an open menu ----------------------------------------------------------------------------------------


class TypedLines(Lines):
    """Answers that are typed one after the other; an edit between them happens before the next answer."""

    def __init__(self, *script: str | Callable[[], None]) -> None:
        super().__init__(-1)
        self._script = [*script]

    def line(self) -> str:
        while self._script:
            item = self._script.pop(0)
            if isinstance(item, str):
                return item
            item()
        raise EOFError


def test_an_open_menu_sees_flavors_workers_and_users_added_by_hand(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("admin", "lab"))
    new_user = {"username": "new", "password_hash": PASSWORD_HASH, "quota_vms": 1, "used_vms": 0, "slices": []}
    edit(desk, lambda record: record.update(login={"shipped_passwords": "keep"}))
    script = TypedLines(
        *("admin", "admin"),
        *(lambda: add_worker(desk), "1"),
        *("3", "1000", "r1", lambda: edit(desk, add_flavor)),
        "..",
        *("3", "1000", "r1", "3", "2", "n"),
        *("8", lambda: edit(desk, lambda record: record["users"].update(new=new_user)), "new", "admin"),
        *("5", "0"),
    )

    def add_flavor(record: dict[str, Any]) -> None:
        record["flavors"]["tiny"] = FLAVOR | {"ram_gb": 0.25}

    output = StringIO()
    screen = Screen(output, terminal=False)
    assert menu.run(desk.api, screen, Keyboard(script, screen), ENTRIES) == 0
    shown = output.getvalue()
    assert f"Worker {ADDED}: up" in shown
    assert "  3. tiny (" in shown
    assert "VM added! ID: 1001, VNC: 5901, Flavor: tiny" in shown
    assert "You have no slices yet" in shown
    assert "Error" not in shown

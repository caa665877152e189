"""The seed of a VM: its documents as a guest reads them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.first_boot import FirstBoot, cloud_config
from core.formats import is_valid_name
from core.inventory import Inventory
from core.ssh_keys import new_secret, public_key
from machines.seed import LABEL, host_name, merged, seed, takes_seed
from models import VM, Devices, Flavor, Slice
from tests.support.designs import design
from tests.unit.core.test_first_boot import VALUES
from tests.unit.core.test_ssh_keys import GOOD
from tests.unit.machines.test_volume import read_volume

SECRET, HOST_SECRET = new_secret(), new_secret()


def seeded(name: str = "line") -> Slice:
    """Return a slice whose VMs have all that a seed takes."""
    slice_ = design(name, Inventory())
    slice_.keys, slice_.ssh_secret = GOOD[:2], SECRET
    for vm in slice_.vms:
        vm.password, vm.host_secret, vm.disk_id = "letmein23456", HOST_SECRET, "0123456789abcdef"
    return slice_


def read(slice_: Slice, vm: VM) -> dict[str, Any]:
    """Return the documents of a seed as cloud-init reads them: by YAML."""
    label, files = read_volume(gzip.decompress(base64.b64decode(seed(slice_, vm).packed)))
    assert label == LABEL
    texts = {name: content.decode() for name, content in files.items()}
    assert texts["user-data"].startswith("#cloud-config\n")
    found = {name: yaml.safe_load(text) for name, text in texts.items()}
    assert {name: json.loads(text.removeprefix("#cloud-config\n")) for name, text in texts.items()} == found
    return found


def test_a_guest_is_told_who_it_is() -> None:
    slice_ = seeded()
    found = read(slice_, slice_.vms[0])
    assert found["meta-data"] == {"instance-id": "slice1000-vm1001-0123456789abcdef", "local-hostname": "vm1"}
    data = found["user-data"]
    assert (data["hostname"], data["manage_etc_hosts"], data["users"]) == ("vm1", "localhost", ["default"])
    assert data["user"] == {
        "name": "student",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": [*GOOD[:2], public_key(SECRET, "slice")],
        "lock_passwd": False,
        "plain_text_passwd": "letmein23456",
    }
    assert data["ssh_keys"]["ed25519_public"] == public_key(HOST_SECRET)
    assert data["ssh_keys"]["ed25519_private"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert data["updates"] == {"network": {"when": ["boot-new-instance", "boot"]}}


def test_another_disk_has_a_first_boot_again() -> None:
    slice_ = seeded()
    vm = slice_.vms[0]
    before = read(slice_, vm)["meta-data"]["instance-id"]
    vm.disk_id = "f" * 16
    assert read(slice_, vm)["meta-data"]["instance-id"] != before


def ethernets(slice_: Slice, number: int) -> dict[str, Any]:
    network = read(slice_, slice_.vms[number])["network-config"]
    assert network["version"] == 2
    found: dict[str, Any] = network["ethernets"]
    for name, each in found.items():
        nic = slice_.vms[number].interface(name)
        assert nic
        assert each.pop("match") == {"macaddress": nic.mac}
        assert (each.pop("set-name"), each.pop("optional")) == (name, True)
    return found


WITHOUT_ROUTES = {"dhcp4": True, "dhcp4-overrides": {"use-routes": False, "use-dns": False}}


def test_the_default_route_is_that_of_the_internet() -> None:
    assert ethernets(seeded(), 0) == {"eth0": {"dhcp4": True}, "eth1": WITHOUT_ROUTES}


def test_without_internet_the_first_link_has_the_default_route() -> None:
    assert ethernets(seeded(), 1) == {"eth0": {"dhcp4": False}, "eth1": {"dhcp4": True}, "eth2": WITHOUT_ROUTES}


def test_interfaces_have_the_names_that_their_flavor_gives_them() -> None:
    slice_ = seeded()
    vm = slice_.vms[0]
    vm.flavor = Flavor(devices=Devices(nic_names="ens{n+1}"))
    assert {name: each["set-name"] for name, each in read(slice_, vm)["network-config"]["ethernets"].items()} == {
        "ens1": "ens1",
        "ens2": "ens2",
    }


@pytest.mark.parametrize(("flavor", "takes"), [("ubuntu", True), ("cirros", False)])
def test_a_flavor_says_whether_its_vms_take_a_seed(flavor: str, takes: bool) -> None:
    vm = seeded().vms[0]
    vm.flavor = Flavor.built_in()[flavor]
    assert takes_seed(vm) is takes


def test_an_interface_without_link_or_dhcp_is_left_alone() -> None:
    slice_ = seeded("unconnected")
    assert ethernets(slice_, 0) == {name: {"dhcp4": False} for name in ("eth0", "eth1", "eth2")}


def served(services: str, addresses: dict[int, str] | None = None) -> Slice:
    """Return two VMs without internet, on a link with these services."""
    slice_ = seeded("unconnected")
    ends = [(vm.vm_id, "eth1") for vm in slice_.vms]
    slice_.join(ends, services=services, cidr="10.1.2.0/30", addresses=addresses or {})
    return slice_


def test_a_link_without_services_has_the_addresses_that_the_design_gives() -> None:
    unconfigured = {name: {"dhcp4": False} for name in ("eth0", "eth1", "eth2")}
    assert ethernets(served("none"), 0) == unconfigured
    fixed = served("none", {1001: "10.1.2.1"})
    assert ethernets(fixed, 0) == unconfigured | {"eth1": {"dhcp4": False, "addresses": ["10.1.2.1/30"]}}
    assert ethernets(fixed, 1) == unconfigured


def test_a_link_without_gateway_gives_no_default_route() -> None:
    slice_ = seeded("unconnected")
    slice_.join([(vm.vm_id, "eth1") for vm in slice_.vms], services="dhcp")
    assert ethernets(slice_, 0)["eth1"] == WITHOUT_ROUTES


@pytest.mark.parametrize(
    ("script", "first"), [("echo hi\n", "#!/bin/sh"), ("#!/usr/bin/python3\n1", "#!/usr/bin/python3")]
)
def test_a_script_is_run_by_its_own_first_line(script: str, first: str) -> None:
    slice_ = seeded()
    slice_.vms[0].seed = FirstBoot(script)
    _, file = read(slice_, slice_.vms[0])["user-data"]["write_files"]
    assert file["content"].splitlines()[0] == first
    assert file["content"].endswith(script)
    assert file["permissions"] == "0700"


OWN = {
    "packages": ["frr"],
    "hostname": "other",
    "user": {"name": "root"},
    "password": "x",
    "ssh_keys": {"rsa_private": "x"},
    "users": ["default", {"name": "student", "ssh_authorized_keys": []}, {"name": "eva"}, "student"],
    "write_files": [{"path": "/a"}],
    "bootcmd": [["true"]],
}


def test_the_slice_files_part_adds_and_never_replaces() -> None:
    slice_ = seeded()
    vm = slice_.vms[0]
    plain = read(slice_, vm)["user-data"]
    vm.seed = FirstBoot("true", cloud_config(OWN))
    data = read(slice_, vm)["user-data"]
    assert data["packages"] == ["frr"]
    assert data["users"] == ["default", {"name": "eva"}]
    assert data["bootcmd"] == [*plain["bootcmd"], ["true"]]
    scripts = "/var/lib/cloud/scripts"
    paths = [f"{scripts}/per-boot/keep-first-boot", f"{scripts}/per-instance/slice-file", "/a"]
    assert [file["path"] for file in data["write_files"]] == paths
    added = {"users", "write_files", "bootcmd"}
    assert {key: data[key] for key in plain.keys() - added} == {key: plain[key] for key in plain.keys() - added}
    assert "password" not in data


def test_equal_values_give_equal_bytes() -> None:
    assert seed(seeded(), seeded().vms[0]) == seed(seeded(), seeded().vms[0])
    whole = gzip.decompress(base64.b64decode(seed(seeded(), seeded().vms[0]).packed))
    assert seed(seeded(), seeded().vms[0]).digest == hashlib.sha256(whole).hexdigest()


def test_a_seed_is_small_on_its_way() -> None:
    assert len(seed(seeded("ring"), seeded("ring").vms[0]).packed) < 3000


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
SCRIPTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(deadline=None, max_examples=60)
@given(NAMES, SCRIPTS, st.dictionaries(st.text(max_size=20), VALUES, max_size=3))
def test_nothing_of_a_user_breaks_out_of_the_documents(name: str, script: str, config: dict[str, Any]) -> None:
    slice_ = seeded("single")
    vm = slice_.vms[0]
    before = read(slice_, vm)
    try:
        vm.seed = FirstBoot(script, cloud_config(config))
    except ValueError:
        vm.seed = FirstBoot(script)
    vm.name = name
    found = read(slice_, vm)
    data, plain = found["user-data"], before["user-data"]
    assert found["network-config"] == before["network-config"]
    assert {key: data[key] for key in ("user", "ssh_keys", "updates")} == {
        key: plain[key] for key in ("user", "ssh_keys", "updates")
    }
    assert data["hostname"] == host_name(vm)
    if script:
        assert data["write_files"][1]["content"].removeprefix("#!/bin/sh\n") == script


@settings(deadline=None)
@given(NAMES)
def test_a_host_name_has_no_other_letters_than_host_names_have(name: str) -> None:
    slice_ = seeded("single")
    slice_.vms[0].name = name
    found = host_name(slice_.vms[0])
    assert is_valid_name(found)
    assert "_" not in found
    assert found == found.strip("-") != ""


def test_merging_keeps_ours() -> None:
    ours = {"a": 1, "b": {"c": 1}, "d": [1], "e": {"f": [1]}}
    theirs = {"a": 2, "b": {"c": 2, "x": 3}, "d": [1, 2], "e": [], "y": 4}
    assert merged(ours, theirs) == {"a": 1, "b": {"c": 1, "x": 3}, "d": [1, 2], "e": {"f": [1]}, "y": 4}

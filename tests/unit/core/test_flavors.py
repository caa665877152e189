"""Flavors: devices have the values of today where the file is silent, and stand beside the size in one mapping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.flavors import Devices, Flavor
from core.rule import Broken, Record
from models import VM

SIZE: Record = {"cores": 1, "ram_gb": 0.5, "disk_gb": 1, "image": "/srv/a.qcow2"}
OTHERS: Record = {
    "nic_model": "e1000",
    "disk_bus": "sata",
    "machine": "q35",
    "firmware": "uefi",
    "cpu_model": "qemu64",
    "video": "none",
    "cdrom": "/srv/a.iso",
    "disk2_gb": 2,
    "max_nics": 8,
    "min_nics": 2,
    "nic_names": "ether{n+1}",
    "console": "vnc",
    "ready": ["login:", "^ready$"],
    "ready_timeout": 60,
    "user": "vyos",
    "seed": "nocloud",
    "kvm": "required",
    "link_state": "up",
}
"""A value that is not the default, for each key."""


def test_a_flavor_of_today_is_read_and_written_as_before() -> None:
    for record in (SIZE, {}, {"cores": 2}):
        assert Flavor.from_dict(record).to_dict() == record
        assert Flavor.from_dict(record).devices == Devices()


def test_all_flavors_without_devices_share_one_value() -> None:
    assert Flavor.from_dict(SIZE).devices is Flavor.from_dict({}).devices


def test_the_sample_has_every_key() -> None:
    assert OTHERS.keys() == Devices.KEYS.keys()


@given(st.sets(st.sampled_from([*OTHERS])), st.booleans())
def test_devices_stand_beside_the_size(names: set[str], sized: bool) -> None:
    record = (SIZE if sized else {}) | {name: OTHERS[name] for name in names}
    flavor = Flavor.from_dict(record)
    Flavor.rule()(record)
    assert flavor.to_dict() == record
    assert flavor.devices.to_dict() == {name: OTHERS[name] for name in names}


def test_built_in_flavors_keep_their_documented_layout() -> None:
    assert Flavor.get("ubuntu") == {
        "cores": 1,
        "ram_gb": 0.5,
        "disk_gb": 2.2,
        "image": "/tmp/vm_images/focal-server-cloudimg-amd64.img",
    }
    seeds = {name: flavor.devices.seed for name, flavor in Flavor.built_in().items()}
    assert seeds == {"cirros": "none", "ubuntu": "nocloud"}


def test_a_vm_of_an_older_file_has_no_seed() -> None:
    for flavor in (None, Flavor.FLAVORS["ubuntu"]):
        assert VM(1000, "a", "admin", "10.0.10.1", 5901, [], flavor).devices == Devices()


def test_a_vm_keeps_the_devices_of_its_flavor() -> None:
    vm = VM(1000, "a", "admin", "10.0.10.1", 5901, [], Flavor.built_in()["ubuntu"])
    assert VM.from_dict(vm.to_dict()).devices.seed == "nocloud"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("nic_model", "e1001", 'must be one of virtio, e1000, e1000e, rtl8139, vmxnet3, pcnet, not "e1001"'),
        ("nic_model", "e1000,mac=52:54:00:00:00:01", "must be one of virtio"),
        ("disk_bus", True, "must be one of virtio, ide, sata, scsi, not true"),
        ("machine", "q36", "must be one of pc, q35"),
        ("firmware", "", "must be one of bios, uefi"),
        ("cpu_model", "host,+vmx", "must be one of max,"),
        ("video", "qxl", "must be one of std,"),
        ("cdrom", "", "must be the path of a file"),
        ("disk2_gb", 0, "must be a number from 0.001 to 16384, not 0"),
        ("max_nics", 11, "must be a whole number from 0 to 10, not 11"),
        ("nic_names", "ether", "must be a name with {n} or {n+1}"),
        ("ready", "login:", "must be a list"),
        ("ready", ["a"] * 9, "must have at most 8 entries"),
        ("ready", ["a\nb"], "must be an extended regular expression of 1 to 200 characters"),
        ("ready", ["a" * 201], "must be an extended regular expression of 1 to 200 characters"),
        ("user", "root", "must be a login name"),
        ("user", "-x", "must be a login name"),
        ("seed", "yes", "must be one of none, nocloud"),
        ("kvm", "no", "must be one of optional, required"),
        ("nics", 3, 'unknown key "nics"'),
    ],
)
def test_other_devices_are_refused(key: str, value: object, words: str) -> None:
    for rule in (Flavor.rule(), Flavor.setting()):
        with pytest.raises(Broken) as refusal:
            rule(SIZE | {key: value})
        assert refusal.value.reason.startswith(words)


def test_a_setting_has_size_and_image() -> None:
    with pytest.raises(Broken, match="the key image is missing"):
        Flavor.setting()({"cores": 1, "ram_gb": 1, "disk_gb": 1, "nic_model": "e1000"})


@pytest.mark.parametrize(
    ("names", "shown"),
    [("eth{n}", ["eth0", "eth2"]), ("ether{n+1}", ["ether1", "ether3"]), ("Gi0/{n}", ["Gi0/0", "Gi0/2"])],
)
def test_interfaces_have_the_names_of_the_guest(names: str, shown: list[str]) -> None:
    assert [Devices(nic_names=names).nic_name(index) for index in (0, 2)] == shown


def test_a_second_disk_counts_in_the_size() -> None:
    size = Flavor.from_dict(SIZE | {"disk2_gb": 2}).size
    assert (size.disk_gb, size.disk2_gb, size.disks_gb) == (1, 2, 3)


def test_a_vm_reads_the_images_of_its_disk_and_of_its_cd() -> None:
    assert Flavor.from_dict(SIZE | {"cdrom": "/srv/cd.qcow2"}).images == ("/srv/a.qcow2", "/srv/cd.qcow2")
    assert Flavor.from_dict(SIZE).images == ("/srv/a.qcow2",)
    assert Flavor().images == ()

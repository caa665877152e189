"""Passwords and keys: which VMs get them, and when they change."""

from __future__ import annotations

from core.flavors import Devices, Flavor
from machines import credentials
from models import Slice
from tests.support.designs import design
from tests.unit.core.test_ssh_keys import GOOD


def half_seeded() -> Slice:
    """Return a slice whose first VM takes a seed."""
    slice_ = design("line")
    slice_.vms[0].flavor = Flavor(devices=Devices(seed="nocloud"))
    return slice_


def test_a_start_gives_what_is_missing_and_keeps_what_is_there() -> None:
    slice_ = half_seeded()
    credentials.renew(slice_, slice_.vms, GOOD[:1])
    one, other = slice_.vms[:2]
    password, host, own, vnc = one.password, one.host_secret, slice_.ssh_secret, one.vnc_secret
    assert all((password, host, own, vnc))
    assert (other.password, other.host_secret) == (None, None)
    credentials.renew(slice_, slice_.vms, GOOD[:2])
    assert (one.password, one.host_secret, slice_.ssh_secret) == (password, host, own)
    assert slice_.keys == GOOD[:2]
    assert one.vnc_secret != vnc


def test_a_slice_without_seeds_has_no_keys() -> None:
    slice_ = design("line")
    credentials.renew(slice_, slice_.vms, GOOD[:1])
    assert (slice_.keys, slice_.ssh_secret) == ([], None)
    assert all(vm.vnc_secret for vm in slice_.vms)


def test_a_new_disk_is_another_guest() -> None:
    slice_ = half_seeded()
    vm = slice_.vms[0]
    credentials.new_disk(slice_, vm)
    first = (vm.disk_id, vm.password, vm.host_secret)
    own = slice_.ssh_secret
    credentials.new_disk(slice_, vm)
    assert not {*first} & {vm.disk_id, vm.password, vm.host_secret}
    assert slice_.ssh_secret == own


def test_no_copy_for_others_has_a_secret() -> None:
    slice_ = half_seeded()
    credentials.renew(slice_, slice_.vms, GOOD[:1])
    text = str(slice_.without_secrets().to_dict())
    for secret in (slice_.ssh_secret, slice_.vms[0].password, slice_.vms[0].host_secret, slice_.vms[0].vnc_secret):
        assert secret
        assert secret not in text
        assert secret in str(slice_.to_dict())

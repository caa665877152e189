"""Make the seed of a VM: a small volume `cidata` from which cloud-init takes what a guest has to know (NoCloud). Pure.

It holds `meta-data`, `user-data` and `network-config`. All three are JSON, which is YAML as well. The slice and its VM
determine every byte: a seed that is there already can be compared by its digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from core import ssh_keys
from core.first_boot import read_cloud_config
from core.links import DHCP_GATEWAY
from core.rule import Record
from machines.volume import volume
from models import VM, Interface, Network, Slice
from shell.scripts import load

LABEL = "cidata"
_GZIP = 16 + zlib.MAX_WBITS
"""The form that gzip(1) reads, without a time in it."""

_SCRIPTS = "/var/lib/cloud/scripts"
_SCRIPT, _KEEP = f"{_SCRIPTS}/per-instance/slice-file", f"{_SCRIPTS}/per-boot/keep-first-boot"
"""Scripts that are run as root when packages are installed, once per instance-id, and before it at each boot."""

_KEEP_FIRST_BOOT = load("guests/keep-first-boot")
_REPEAT_FIRST_BOOT = load("guests/repeat-first-boot")

_OURS = frozenset({
    *("user", "password", "hostname", "fqdn", "prefer_fqdn_over_hostname", "preserve_hostname", "create_hostname_file"),
    *("manage_etc_hosts", "ssh_keys", "ssh_deletekeys", "ssh_genkeytypes", "disable_root", "updates", "network"),
})  # fmt: skip
"""Keys of cloud-config that a slice file cannot set: user, keys, names and network of a VM are the slice's."""

_NOT_PLAIN = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that JSON takes as they are, and YAML does not."""


class PackedSeed(NamedTuple):
    """A seed as it is sent to a worker: packed, in base64. `digest` is the SHA-256 of the volume."""

    packed: str
    digest: str


def takes_seed(vm: VM) -> bool:
    """Return whether the VM's flavor takes a seed."""
    return vm.devices.seed == "nocloud"


def seed(slice_: Slice, vm: VM) -> PackedSeed:
    """Return the seed of a VM."""
    texts = {name: _json(document) for name, document in documents(slice_, vm).items()}
    texts["user-data"] = f"#cloud-config\n{texts['user-data']}"  # by this line cloud-init knows what it is
    whole = volume(LABEL, {name: text.encode() for name, text in texts.items()})
    packed = base64.b64encode(zlib.compress(whole, wbits=_GZIP)).decode()
    return PackedSeed(packed, hashlib.sha256(whole).hexdigest())


def documents(slice_: Slice, vm: VM) -> dict[str, Any]:
    """Return the documents of a seed by the names of their files."""
    meta = {"instance-id": _instance(slice_, vm), "local-hostname": host_name(vm)}
    return {
        "meta-data": meta,
        "user-data": _user_data(slice_, vm),
        "network-config": network_config(slice_, vm),
    }


def host_name(vm: VM) -> str:
    """Return the guest's host name: the VM's name in the letters that host names have."""
    return vm.name.replace("_", "-").strip("-") or f"vm{vm.vm_id}"


def _instance(slice_: Slice, vm: VM) -> str:
    """Return the id of the guest's disk: with another one cloud-init does a first boot again."""
    return f"slice{slice_.slice_id}-vm{vm.vm_id}-{vm.disk_id or 'disk'}"


def _json(value: object) -> str:
    """Return JSON that is YAML as well, with the same meaning."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    return _NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


# --- user-data --------------------------------------------------------------------------------------------------------


def _user_data(slice_: Slice, vm: VM) -> Record:
    """Return the cloud-config of a VM: ours, into which that of the slice file is merged."""
    keys = [*slice_.keys, *([ssh_keys.public_key(slice_.ssh_secret, "slice")] if slice_.ssh_secret else [])]
    account: Record = {"name": vm.devices.user, "sudo": "ALL=(ALL) NOPASSWD:ALL", "ssh_authorized_keys": keys}
    if vm.password:
        account |= {"lock_passwd": False, "plain_text_passwd": vm.password}
    ours: Record = {
        "hostname": host_name(vm),
        "manage_etc_hosts": "localhost",
        "user": account,  # the distribution's own account, under this name: it has the right shell and groups
        "users": ["default"],
        "updates": {"network": {"when": ["boot-new-instance", "boot"]}},
        "bootcmd": [[*_REPEAT_FIRST_BOOT.argv("")]],  # at each boot, before users and keys
        "write_files": [_executable(_KEEP, f"{_KEEP_FIRST_BOOT.text}\n")],
    }
    if vm.host_secret:
        private, public = ssh_keys.private_key(vm.host_secret), ssh_keys.public_key(vm.host_secret)
        ours["ssh_keys"] = {"ed25519_private": private, "ed25519_public": public}
    if vm.seed and vm.seed.script:
        ours["write_files"].append(_executable(_SCRIPT, vm.seed.script))
    theirs = read_cloud_config(vm.seed.user_data) if vm.seed else {}
    if isinstance(theirs.get("users"), list):
        theirs["users"] = [each for each in theirs["users"] if _name_of(each) != vm.devices.user]
    return merged(ours, {key: value for key, value in theirs.items() if key not in _OURS})


def _name_of(account: object) -> object:
    return account.get("name") if isinstance(account, dict) else account


def _executable(path: str, script: str) -> Record:
    """Return the file of a script that the kernel can start: without a first line of its own it is one for sh."""
    content = script if script.startswith("#!") else f"#!/bin/sh\n{script}"
    return {"path": path, "permissions": "0700", "content": content}


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Record:
    """Return both: mappings key by key, lists one behind the other; of two other values ours."""
    both: Record = dict(ours)
    for key, value in theirs.items():
        mine = both.get(key)
        if key not in both:
            both[key] = value
        elif isinstance(mine, dict) and isinstance(value, dict):
            both[key] = merged(mine, value)
        elif isinstance(mine, list) and isinstance(value, list):
            both[key] = [*mine, *(each for each in value if each not in mine)]
    return both


# --- network-config ---------------------------------------------------------------------------------------------------


def network_config(slice_: Slice, vm: VM) -> Record:
    """Return the network of a VM (version 2): every interface by its MAC, under the name that its flavor gives it.

    One interface has the default route and the name servers: `eth0` with internet, else the first one with a gateway.
    No interface is waited for at boot, because the other end of a link may be off.
    """
    routed = next(_with_gateway(slice_, vm), None)
    return {
        "version": 2,
        "ethernets": {
            vm.devices.nic_name(index): {
                "match": {"macaddress": (nic.mac or "").lower()},
                "set-name": vm.devices.nic_name(index),
                "optional": True,
                **_addressing(slice_, nic, slice_.address_of(vm, nic), is_routed=nic is routed),
            }
            for index, nic in enumerate(vm.interfaces)
        },
    }


def _addressing(slice_: Slice, nic: Interface, address: str | None, *, is_routed: bool) -> Record:
    """Return how an interface gets its address: by DHCP, as a fixed one of a link without DHCP, or not at all."""
    network = _network_of(slice_, nic)
    if nic.ip_config or (network and network.dhcp_enabled):
        overrides = {} if is_routed else {"dhcp4-overrides": {"use-routes": False, "use-dns": False}}
        return {"dhcp4": True, **overrides}
    if network and address:
        return {"dhcp4": False, "addresses": [f"{address}/{network.addresses.prefixlen}"]}
    return {"dhcp4": False}


def _with_gateway(slice_: Slice, vm: VM) -> Iterator[Interface]:
    """Yield the interfaces behind which there is a gateway, the one with internet first."""
    yield from (nic for nic in vm.interfaces if nic.ip_config)
    for nic in vm.interfaces:
        network = _network_of(slice_, nic)
        if network and network.services == DHCP_GATEWAY:
            yield nic


def _network_of(slice_: Slice, nic: Interface) -> Network | None:
    link = slice_.link(nic.link_id)
    return slice_.network_of(link) if link else None

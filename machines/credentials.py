"""Make what opens a VM: passwords, and the secrets of SSH keys. All of it is random."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence

from core import ssh_keys
from machines.seed import takes_seed
from models import VM, Slice

_VNC_LENGTH = 8
"""The VNC protocol ignores further characters."""

_LENGTH = 12
_LETTERS = string.ascii_letters + string.digits
_CLEAR = "".join(letter for letter in _LETTERS if letter not in "0O1lI")
"""A password of a guest is typed at its console, so no two of its letters look alike."""


def renew(slice_: Slice, vms: Sequence[VM], keys: Sequence[str]) -> None:
    """Give VMs new VNC passwords, for a start that is about to begin; `keys` are the owner's public keys.

    VMs with a seed also get those parts of it that they do not have yet.
    """
    for vm in vms:
        vm.vnc_secret = _text(_LETTERS, _VNC_LENGTH)
        if takes_seed(vm) and not vm.host_secret:
            new_guest(slice_, vm)
    if any(map(takes_seed, vms)):
        slice_.keys = list(keys)


def new_disk(slice_: Slice, vm: VM) -> None:
    """Give a VM the id of a new disk, and the secrets of the guest that will be on it."""
    vm.disk_id = secrets.token_hex(8)
    if takes_seed(vm):
        new_guest(slice_, vm)


def new_guest(slice_: Slice, vm: VM) -> None:
    """Give the guest of a VM a password and an SSH host key; its slice has a key of its own from then on."""
    vm.password, vm.host_secret = _text(_CLEAR, _LENGTH), ssh_keys.new_secret()
    slice_.ssh_secret = slice_.ssh_secret or ssh_keys.new_secret()


def _text(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))

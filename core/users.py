"""Users: their rights on slices, and their quotas."""

from __future__ import annotations

from typing import Protocol

from core import formats
from core.inventory import ADMIN_SLICES, MAX_SLICES, LoginSettings
from core.records import Recorded, items, key
from core.rule import one_of, whole

MAX_QUOTA, MAX_KEYS = 10_000, 10
STUDENT, ADMIN = "student", "admin"


class Owned(Protocol):
    """An object that belongs to a user."""

    @property
    def owner(self) -> str:
        """Return the user's name."""


class User(Recorded):
    """A user: the digest of the password, the quota of VMs, and the ids of the user's slices.

    A `student` works on slices of their own, an `admin` on all slices. `quota_slices` is the highest number of slices;
    None is the default of the role. `keys` are public keys for the user's VMs.
    """

    username: str = key(formats.NAME)
    password_hash: str = key(formats.DIGEST)
    quota_vms: int = key(whole(0, MAX_QUOTA), default=10)
    used_vms: int = key(whole(0, 1_000_000), default=0)
    slices: list[int] = items(formats.SLICE_ID)
    role: str = key(one_of(STUDENT, ADMIN), default=STUDENT, brief=True)
    quota_slices: int | None = key(whole(0, MAX_SLICES), default=None, brief=True)
    keys: list[str] = items(formats.PUBLIC_KEY, most=MAX_KEYS, brief=True)

    def __init__(self, username: str, password_hash: str, quota_vms: int = 10, role: str = STUDENT) -> None:
        self.username = username
        self.password_hash = password_hash
        self.quota_vms = quota_vms
        self.slices, self.keys = [], []
        self.role = role

    def may_work_on(self, slice_: Owned) -> bool:
        """Return whether the user owns the slice or is an admin."""
        return self.role == ADMIN or slice_.owner == self.username

    def can_create_vms(self, count: int) -> bool:
        """Return whether `count` more VMs stay within the quota."""
        return self.used_vms + count <= self.quota_vms

    def most_slices(self, login: LoginSettings) -> int:
        """Return the highest number of slices that the user may have at a time."""
        if self.quota_slices is not None:
            return self.quota_slices
        return max(login.slices, ADMIN_SLICES) if self.role == ADMIN else login.slices

"""User accounts: authentication, and the users that an operator adds, changes and removes."""

from __future__ import annotations

import builtins
import time
from contextlib import AbstractContextManager, suppress

from accounts.audit import UNKNOWN, Audit, AuditEntry, operator
from accounts.logins import CannotCount, Logins
from core import passwords
from core.errors import CloudError, Refused
from core.formats import is_valid_name
from core.inventory import MAX_SLICES
from database import State, Store
from models import ADMIN, MAX_QUOTA, STUDENT, User

UNCOUNTED_PAUSE_S = 2.0
"""Pause of a login while failures cannot be counted, for example on a full disk: it locks no user out."""


class Accounts:
    """The users of one store.

    Each change of a user is written to `audit` as an act of the operator at this machine.
    """

    def __init__(self, database: Store, audit: Audit | None = None, logins: Logins | None = None) -> None:
        self._database = database
        self._audit = audit or Audit(database)
        self._logins = logins or Logins(database)

    def authenticate(self, username: str, password: str) -> User:
        """Return the user with this name and password; raise `Refused` where either is wrong.

        Sentence and delay are the same for both. After some failures `Refused` says how long to wait. A documented
        SHA-256 digest, and one of a password that is not in NFC, are replaced: the password is known at this point.
        """
        known = username in self._database.load().users
        with self._audit.noted(AuditEntry(username if known else UNKNOWN, "log in")):
            user = self._verified(username, password)
            if passwords.is_to_be_renewed(user.password_hash, password):
                with suppress(CloudError):  # a file that cannot be written now must not lock the user out
                    self._renew(user, password)
            return user

    def change_password(self, username: str, current: str, new: str) -> None:
        """Replace a user's own password; raise `Refused` for a wrong current or an unfit new one."""
        user = self._verified(username, current, "This is not your current password; nothing was changed")
        passwords.check_new(username, new)
        if passwords.normal(new) == passwords.normal(current):
            raise Refused("This is your password already; nothing was changed")
        self._store(user, new)

    def add(self, username: str, password: str, quota: int = 10, role: str = STUDENT) -> None:
        """Add a user without slices."""
        with self._noted("add user", username) as entry:
            if not is_valid_name(username):
                raise Refused("A user name has 1 to 32 letters, digits, hyphens and underscores")
            _check_quota(quota)
            _check_role(role)
            passwords.check_new(username, password)
            digest = passwords.hash_password(password)
            with self._database.transaction() as state:
                if username in state.users:
                    raise Refused(f"There is a user {username} already")
                state.users[username] = User(username, digest, quota, role)
            entry.action = f"add user {username}"

    def set_password(self, username: str, password: str) -> None:
        """Set a user's password."""
        with self._noted("set password of", username):
            passwords.check_new(username, password)
            digest = passwords.hash_password(password)
            with self._database.transaction() as state:
                _user(state, username).password_hash = digest

    def set_quota(self, username: str, quota: int) -> None:
        """Set a user's quota of VMs; VMs above it stay, and no new ones are allowed."""
        with self._noted("set quota of", username):
            _check_quota(quota)
            with self._database.transaction() as state:
                _user(state, username).quota_vms = quota

    def set_slices(self, username: str, count: int | None) -> None:
        """Set the maximum number of a user's slices, None for the role's default; slices above it stay."""
        with self._noted("set slices of", username):
            if count is not None and not 0 <= count <= MAX_SLICES:
                raise Refused(f"A user may have 0 to {MAX_SLICES} slices")
            with self._database.transaction() as state:
                _user(state, username).quota_slices = count

    def most_slices(self, username: str) -> int:
        """Return the maximum number of slices that a user may have at a time."""
        state = self._database.load()
        return _user(state, username).most_slices(state.inventory.login)

    def set_role(self, username: str, role: str) -> None:
        """Set a user's role; open sessions obey it from their next request on."""
        with self._noted("set role of", username):
            _check_role(role)
            with self._database.transaction() as state:
                _user(state, username).role = role

    def remove(self, username: str) -> None:
        """Remove a user; raise `Refused` while the user owns a slice."""
        with self._noted("remove user", username), self._database.transaction() as state:
            owned = ", ".join(map(str, _user(state, username).slices))
            if owned:
                raise Refused(f"User {username} still owns slices ({owned}): delete them first")
            del state.users[username]

    def list(self) -> builtins.list[User]:
        """Return all users, by name."""
        return sorted(self._database.load().users.values(), key=lambda user: user.username)

    def _verified(self, username: str, password: str, wrong: str = "Wrong user name or password") -> User:
        """Return the user if the password is right.

        Each failure is counted, also for names without an account.
        """
        with self._logins.turn(username):
            try:
                self._logins.attempt(username)
            except CannotCount:
                time.sleep(UNCOUNTED_PAUSE_S)
            user = self._database.load().users.get(username)
            if not passwords.verify(user.password_hash if user else "", password) or user is None:
                raise Refused(wrong)
            with suppress(CannotCount):
                self._logins.succeeded(username)
            return user

    def _renew(self, user: User, password: str) -> None:
        digest = passwords.hash_password(password)
        with self._database.transaction() as state:
            stored = state.users.get(user.username)
            if stored and stored.password_hash == user.password_hash:  # another process may have stored a newer value
                stored.password_hash = digest

    def _store(self, user: User, password: str) -> None:
        digest = passwords.hash_password(password)
        with self._database.transaction() as state:
            stored = state.users.get(user.username)
            if stored is None or stored.password_hash != user.password_hash:
                raise Refused("Your password was changed elsewhere just now; nothing was changed here")
            stored.password_hash = digest

    def _noted(self, action: str, username: str) -> AbstractContextManager[AuditEntry]:
        return self._audit.noted(AuditEntry(operator(), f"{action} {self._named(username)}"))

    def _named(self, username: str) -> str:
        """Return a name for the log: one without an account may be a password typed in its place."""
        with suppress(CloudError):
            if username in self._database.load().users:
                return username
        return UNKNOWN


def _user(state: State, username: str) -> User:
    try:
        return state.users[username]
    except KeyError:
        # The typed name is left out: it may be a password, and the audit log keeps the sentence.
        raise Refused(f"There is no user of that name; users: {', '.join(sorted(state.users))}") from None


def _check_role(role: str) -> None:
    if role not in {STUDENT, ADMIN}:
        raise Refused(f"A role is {STUDENT} or {ADMIN}")


def _check_quota(quota: int) -> None:
    if not 0 <= quota <= MAX_QUOTA:
        raise Refused(f"A quota is a number of VMs from 0 to {MAX_QUOTA}")

"""Who may log in: authentication, and the users that an operator adds, changes and removes."""

from __future__ import annotations

import builtins
import time
from contextlib import AbstractContextManager, suppress

from accounts.audit import UNKNOWN, Audit, Entry, operator
from accounts.logins import CannotCount, Logins
from core import passwords
from core.errors import CloudError, Refused
from database import Database, State
from models import ADMIN, MAX_QUOTA, MAX_SLICES, STUDENT, User, is_valid_name

UNCOUNTED_PAUSE_S = 2.0
"""What a login costs while wrong ones cannot be counted, the disk being full, say: that locks nobody out."""


class Accounts:
    """The users of one database. What changes them is written to `audit`, as done by the operator at this machine."""

    def __init__(self, database: Database, audit: Audit | None = None, logins: Logins | None = None) -> None:
        self._database = database
        self._audit = audit or Audit(database.path)
        self._logins = logins or Logins(database.beside("logins"), database.path)

    def authenticate(self, username: str, password: str) -> User:
        """The user with this name and password; `Refused` with the same sentence, and as late, where either is wrong.

        After some wrong ones `Refused` says how long to wait. The documented SHA-256 digest is replaced by a salted
        one, and one of a password that is not in NFC by one that is, now that the password is known.
        """
        known = username in self._database.load().users
        with self._audit.noted(Entry(username if known else UNKNOWN, "log in")):
            user = self._verified(username, password)
            if passwords.is_to_be_renewed(user.password_hash, password):
                with suppress(CloudError):  # a file that cannot be written just now must not keep the user out
                    self._renew(user, password)
            return user

    def change_password(self, username: str, current: str, new: str) -> None:
        """Give a user who knows the current password a new one; `Refused` where either does not do."""
        user = self._verified(username, current, "This is not your current password; nothing was changed")
        passwords.check_new(username, new)
        if passwords.normal(new) == passwords.normal(current):
            raise Refused("This is your password already; nothing was changed")
        self._store(user, new)

    def add(self, username: str, password: str, quota: int = 10, role: str = STUDENT) -> None:
        """Add a user who owns nothing yet."""
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
        """Give a user a new password."""
        with self._noted("set password of", username):
            passwords.check_new(username, password)
            digest = passwords.hash_password(password)
            with self._database.transaction() as state:
                _user(state, username).password_hash = digest

    def set_quota(self, username: str, quota: int) -> None:
        """Give a user another quota of VMs; one below what is in use keeps those VMs and allows no new ones."""
        with self._noted("set quota of", username):
            _check_quota(quota)
            with self._database.transaction() as state:
                _user(state, username).quota_vms = quota

    def set_slices(self, username: str, count: int | None) -> None:
        """Set how many slices a user may have, None for the default of the role; slices above it are kept."""
        with self._noted("set slices of", username):
            if count is not None and not 0 <= count <= MAX_SLICES:
                raise Refused(f"A user may have 0 to {MAX_SLICES} slices")
            with self._database.transaction() as state:
                _user(state, username).quota_slices = count

    def most_slices(self, username: str) -> int:
        """Return how many slices a user may have at a time."""
        state = self._database.load()
        return _user(state, username).most_slices(state.inventory.login)

    def set_role(self, username: str, role: str) -> None:
        """Make a user an admin, or a student; it holds from their next wish on, also where they are logged in."""
        with self._noted("set role of", username):
            _check_role(role)
            with self._database.transaction() as state:
                _user(state, username).role = role

    def remove(self, username: str) -> None:
        """Remove a user who owns no slice."""
        with self._noted("remove user", username), self._database.transaction() as state:
            owned = ", ".join(map(str, _user(state, username).slices))
            if owned:
                raise Refused(f"User {username} still owns slices ({owned}): delete them first")
            del state.users[username]

    def list(self) -> builtins.list[User]:
        """All users, by name."""
        return sorted(self._database.load().users.values(), key=lambda user: user.username)

    def _verified(self, username: str, password: str, wrong: str = "Wrong user name or password") -> User:
        """The user, if the password is right; every wrong one is counted, also for names that are nobody's."""
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
            if stored and stored.password_hash == user.password_hash:  # else it was changed: theirs is the newer word
                stored.password_hash = digest

    def _store(self, user: User, password: str) -> None:
        digest = passwords.hash_password(password)
        with self._database.transaction() as state:
            stored = state.users.get(user.username)
            if stored is None or stored.password_hash != user.password_hash:
                raise Refused("Your password was changed elsewhere just now; nothing was changed here")
            stored.password_hash = digest

    def _noted(self, action: str, username: str) -> AbstractContextManager[Entry]:
        return self._audit.noted(Entry(operator(), f"{action} {self._named(username)}"))

    def _named(self, username: str) -> str:
        """A name as it may stand in the log: what is nobody's may be a password that was typed in its place."""
        with suppress(CloudError):
            if username in self._database.load().users:
                return username
        return UNKNOWN


def _user(state: State, username: str) -> User:
    try:
        return state.users[username]
    except KeyError:
        # Not what was typed: that may have been a password, and the sentence is for the audit log too.
        raise Refused(f"There is no user of that name; users: {', '.join(sorted(state.users))}") from None


def _check_role(role: str) -> None:
    if role not in {STUDENT, ADMIN}:
        raise Refused(f"A role is {STUDENT} or {ADMIN}")


def _check_quota(quota: int) -> None:
    if not 0 <= quota <= MAX_QUOTA:
        raise Refused(f"A quota is a number of VMs from 0 to {MAX_QUOTA}")

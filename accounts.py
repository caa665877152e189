"""Who may log in: authentication, and the users that an operator adds, changes and removes."""

from __future__ import annotations

import builtins
from contextlib import suppress

import passwords
from database import Database, State
from errors import CloudError, Refused
from models import ADMIN, MAX_QUOTA, STUDENT, User, is_valid_name


class Accounts:
    """The users of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def authenticate(self, username: str, password: str) -> User:
        """The user with this name and password; `Refused` with the same sentence, and as late, where either is wrong.

        The documented SHA-256 digest is replaced by a salted one, now that the password is known.
        """
        user = self._database.load().users.get(username)
        if not passwords.verify(user.password_hash if user else "", password) or user is None:
            raise Refused("Wrong user name or password")
        if passwords.is_outdated(user.password_hash):
            with suppress(CloudError):  # a file that cannot be written just now must not keep the user out
                self._renew(user, password)
        return user

    def add(self, username: str, password: str, quota: int = 10, role: str = STUDENT) -> None:
        """Add a user who owns nothing yet."""
        if not is_valid_name(username):
            raise Refused("A user name has 1 to 32 letters, digits, hyphens and underscores")
        _check_quota(quota)
        _check_role(role)
        passwords.check_new(password)
        digest = passwords.hash_password(password)
        with self._database.transaction() as state:
            if username in state.users:
                raise Refused(f"There is a user {username} already")
            state.users[username] = User(username, digest, quota, role)

    def set_password(self, username: str, password: str) -> None:
        """Give a user a new password."""
        passwords.check_new(password)
        digest = passwords.hash_password(password)
        with self._database.transaction() as state:
            _user(state, username).password_hash = digest

    def set_quota(self, username: str, quota: int) -> None:
        """Give a user another quota of VMs; one below what is in use keeps those VMs and allows no new ones."""
        _check_quota(quota)
        with self._database.transaction() as state:
            _user(state, username).quota_vms = quota

    def set_role(self, username: str, role: str) -> None:
        """Make a user an admin, or a student; it holds from their next wish on, also where they are logged in."""
        _check_role(role)
        with self._database.transaction() as state:
            _user(state, username).role = role

    def remove(self, username: str) -> None:
        """Remove a user who owns no slice."""
        with self._database.transaction() as state:
            owned = ", ".join(map(str, _user(state, username).slices))
            if owned:
                raise Refused(f"User {username} still owns slices ({owned}): delete them first")
            del state.users[username]

    def list(self) -> builtins.list[User]:
        """All users, by name."""
        return sorted(self._database.load().users.values(), key=lambda user: user.username)

    def _renew(self, user: User, password: str) -> None:
        verified, digest = user.password_hash, passwords.hash_password(password)
        with self._database.transaction() as state:
            stored = state.users.get(user.username)
            if stored and stored.password_hash == verified:  # else it was changed since: theirs is the newer word
                stored.password_hash = digest


def _user(state: State, username: str) -> User:
    try:
        return state.users[username]
    except KeyError:
        raise Refused(f"There is no user {username!r}; users: {', '.join(sorted(state.users))}") from None


def _check_role(role: str) -> None:
    if role not in {STUDENT, ADMIN}:
        raise Refused(f"A role is {STUDENT} or {ADMIN}")


def _check_quota(quota: int) -> None:
    if not 0 <= quota <= MAX_QUOTA:
        raise Refused(f"A quota is a number of VMs from 0 to {MAX_QUOTA}")

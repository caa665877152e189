"""Where the state of a cloud is: a file, or a database of a PostgreSQL server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from core.errors import Refused

SCHEMES = ("postgresql://", "postgres://")
OWN_FOLDER = Path("~/.local/state/cloud-repositorio")
_SECRETS = ("password", "sslpassword")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class ServerURL:
    """The URL of a database on a PostgreSQL server. It has no password, so every sentence may show it."""

    text: str

    def __str__(self) -> str:
        """Return the URL."""
        return self.text


Location = Path | ServerURL


def location_of(text: str) -> Location:
    """Return the location that a user means; raise `Refused` for a URL with a password, which is not repeated."""
    if not text.startswith(SCHEMES):
        return Path(text)
    if _has_password(text):
        raise Refused(
            "a URL with a password shows it to all users of this machine; leave it out, and put it into a password "
            "file (PGPASSFILE, ~/.pgpass) or a service file (postgresql:///?service=NAME)"
        )
    if not (text.isascii() and text.isprintable()):
        raise Refused("a URL has printable ASCII characters only; write others as %XX")
    return ServerURL(text)


def own_path(location: Location) -> Path:
    """Return the path beside which this manager keeps its own files, such as the audit log."""
    if isinstance(location, Path):
        return location
    place = location.text.partition("://")[2]
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", place).strip("._")[:_LONGEST_NAME] or "cloud"
    return OWN_FOLDER.expanduser() / name


def absolute(location: Location) -> str:
    """Return the words that name the location from every folder."""
    return str(location.absolute() if isinstance(location, Path) else location)


def _has_password(url: str) -> bool:
    """Return whether a URL has a password where libpq looks for one."""
    whole = url.partition("://")[2]
    authority, _, query = re.split(r"[/?]", whole, maxsplit=1)[0], *whole.partition("?")[1:]
    keys = {unquote(part.partition("=")[0]).casefold() for part in query.split("&")}
    user, at, _ = authority.rpartition("@")
    return bool(at and ":" in user) or not keys.isdisjoint(_SECRETS)

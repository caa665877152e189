"""Judgement of host keys: reads `known_hosts` by the rules of OpenSSH, so that both clients give the same answer.

The rules are those of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT", and of OpenSSH's hostfile.c where the page is silent.
Host certificates are not used: the plain key is judged, and the `ssh` that copies files gets the same setting. A host
is asked for its certificate only where keys are revoked: the revoked one may be the authority's.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import last_line

SSH_PORT = 22
DEFAULT_ORDER = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
"""Kinds of keys, the best first, as in ssh_config(5) under HostKeyAlgorithms."""

CERTIFIED = "-cert-v01@openssh.com"
"""The suffix of a kind's name for certificates."""

LEAST_RSA_BITS = 1024
"""Minimum length of RSA keys (ssh_config(5), RequiredRSASize)."""

_CA, _REVOKED = "@cert-authority", "@revoked"
_HASH_BYTES = 20
_LONGEST_PATTERN = 1023


class KeyVerdict(enum.Enum):
    """The verdict of the file on a key."""

    KNOWN = "known"
    NEW = "new"
    CHANGED = "changed"
    REVOKED = "revoked"


class KeyRefused(Exception):
    """The refusal of a host key or of the file; the text says why and what to do."""


@dataclass(frozen=True)
class HostKey:
    """A plain public key as the host presents it: `kind` such as `ssh-ed25519`, and its blob.

    `authority` is the blob of the key that signed the host's certificate, if it presented one.
    """

    kind: str
    blob: bytes
    bits: int = field(default=0, compare=False)
    authority: bytes = field(default=b"", compare=False)

    def __str__(self) -> str:
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"{self.kind} SHA256:{digest}"


@dataclass(frozen=True)
class KnownHostsLine:
    """A line of the file that names the host; `key` is None where it cannot be read."""

    line: int
    marker: str
    key: HostKey | None


class KnownHosts:
    """The lines of a `known_hosts` file; `shown` is its path as in the settings."""

    def __init__(self, content: bytes, shown: str) -> None:
        self.content = content
        self._lines = content.split(b"\n")
        self._shown = shown

    @classmethod
    def read(cls, path: str) -> KnownHosts:
        """Return the lines of the file, none where it is missing; raise `KeyRefused` where it cannot be read."""
        try:
            return cls(Path(path).expanduser().read_bytes(), path)
        except FileNotFoundError:
            return cls(b"", path)
        except (OSError, RuntimeError) as error:
            raise KeyRefused(unusable(path, error)) from error

    def entries(self, name: str) -> list[KnownHostsLine]:
        """Return the lines for the host `name`, in the form of `named`."""
        found = (_entry(number, line, name) for number, line in enumerate(self._lines, start=1))
        return [entry for entry in found if entry]

    def order(self, name: str) -> tuple[str, ...]:
        """Return all kinds of keys in the order of preference: known kinds of the host first."""
        known = {entry.key.kind for entry in self.entries(name) if entry.key and not entry.marker}
        if DEFAULT_ORDER[0] in known:
            return DEFAULT_ORDER
        return tuple(sorted(DEFAULT_ORDER, key=lambda kind: kind not in known))

    def judge(self, address: str, port: int, key: HostKey) -> tuple[KeyVerdict, int]:
        """Return the verdict on the key of the host at `address`, and its line in the file, or 0.

        A host on another port may also be known by its address alone. Raise `KeyRefused` for a new key where the host
        has a line with an unreadable key: another version of OpenSSH may read it.
        """
        verdict, line = self._verdict(named(address, port), key)
        if verdict is KeyVerdict.NEW and port != SSH_PORT and self._verdict(address, key)[0] is KeyVerdict.KNOWN:
            return KeyVerdict.KNOWN, 0
        return verdict, line

    def lines_for(self, name: str) -> list[bytes]:
        """Return the lines for the host `name` as they are."""
        return [self._lines[entry.line - 1] for entry in self.entries(name)]

    def without(self, name: str) -> bytes:
        """Return the content without the plain lines for the host `name`."""
        plain = {entry.line for entry in self.entries(name) if not entry.marker}
        return b"\n".join(line for number, line in enumerate(self._lines, start=1) if number not in plain)

    def revokes(self, name: str) -> bool:
        """Return whether some key is revoked for the host `name`."""
        return any(entry.marker == _REVOKED for entry in self.entries(name))

    def authority(self, name: str) -> int:
        """Return the line that names a certificate authority for the host, or 0."""
        return next((entry.line for entry in self.entries(name) if entry.marker == _CA), 0)

    def _verdict(self, name: str, key: HostKey) -> tuple[KeyVerdict, int]:
        entries = self.entries(name)
        plain = [entry for entry in entries if not entry.marker]
        for entry in entries:
            if entry.marker == _REVOKED and entry.key and entry.key.blob in {key.blob, key.authority}:
                return KeyVerdict.REVOKED, entry.line
        for entry in plain:
            if entry.key == key:
                return KeyVerdict.KNOWN, entry.line
        for entry in plain:
            if entry.key:
                return KeyVerdict.CHANGED, entry.line
        if plain:
            where = f"{self._shown}, line {plain[0].line}, names this host"
            raise KeyRefused(f"{where} with a key that cannot be read; correct that line or remove it")
        return KeyVerdict.NEW, 0


def authority_of(certificate: bytes) -> bytes:
    """Return the blob of the key that signed a certificate (PROTOCOL.certkeys of OpenSSH), or b"".

    These fields precede it: kind, nonce, the key's own one or two fields, serial number, kind, key id, principals,
    period, and options. The number of the key's own fields depends on its kind.
    """
    fields = {"ssh-ed25519": 1, "ssh-rsa": 2}
    kind = next(_fields(certificate), b"").decode("latin-1").removesuffix(CERTIFIED)
    rest = _without(certificate, 2 + fields.get(kind, 2))
    rest = _without(rest[12:], 2)
    rest = _without(rest[16:], 3)
    return next(_fields(rest), b"")


def _without(blob: bytes, count: int) -> bytes:
    """Return the rest of a blob after its first `count` fields."""
    for field_ in list(_fields(blob))[:count]:
        blob = blob[4 + len(field_) :]
    return blob


def named(address: str, port: int) -> str:
    """Return the name of a host in the file."""
    return address if port == SSH_PORT else f"[{address}]:{port}"


def is_known(known: KnownHosts, path: str, address: str, port: int, key: HostKey, *, accept_new: bool) -> bool:
    """Return whether the key is known; raise `KeyRefused` unless it is known, or new and `accept_new` is set."""
    verdict, line = known.judge(address, port, key)
    if verdict is KeyVerdict.REVOKED:
        advice = "give the host another key, or remove that line if it should not be there"
        what = "or its certificate's authority " if key.authority else ""
        raise KeyRefused(f"its host key ({key}) {what}is revoked in {path}, line {line}; {advice}")
    if verdict is KeyVerdict.CHANGED:
        advice = "if it was reinstalled, remove that line"
        raise KeyRefused(f"its host key is not the one in {path}, line {line} (now {key}); {advice}")
    if verdict is KeyVerdict.NEW and not accept_new:
        ca_line = known.authority(named(address, port))
        authority = f" (line {ca_line} names a certificate authority, and host certificates are not used)"
        why = f"its host key ({key}) is unknown and ssh: host_keys is strict"
        raise KeyRefused(f"{why}; add it to {path} with ssh-keyscan{authority if ca_line else ''}")
    return verdict is KeyVerdict.KNOWN


def unusable(path: str, error: Exception) -> str:
    """Return the sentence about a file that cannot be read or written."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else last_line(str(error))
    return f"{path} cannot be used ({said}); correct that, or name another file in ssh: known_hosts"


# --- A line of the file -----------------------------------------------------------------------------------------------


def _entry(number: int, line: bytes, name: str) -> KnownHostsLine | None:
    """Return the line as an entry, or None where it does not name the host or is empty."""
    text = line.partition(b"\0")[0].decode("latin-1").lstrip(" \t")
    marker = ""
    if text.startswith("@"):
        marker, _, text = _word(text)
        if marker not in {_CA, _REVOKED}:
            return None
    if not text or text.startswith("#"):
        return None
    hosts, separator, rest = _word(text)
    if not separator or not _names(hosts, name):
        return None
    return KnownHostsLine(number, marker, _read_key(rest))


def _word(text: str) -> tuple[str, str, str]:
    """Split a text at its first blanks."""
    found = re.search(r"[ \t]+", text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def _names(hosts: str, name: str) -> bool:
    """Return whether the hosts of a line, hashed or as patterns, include `name`."""
    if hosts.startswith("|"):
        return _is_hash_of(hosts, name)
    found = False
    for pattern in hosts.lower().split(","):
        negated = pattern.startswith("!")
        plain = pattern.removeprefix("!")
        if len(plain) > _LONGEST_PATTERN:
            return False
        if _matches(plain, name.lower()):
            if negated:
                return False
            found = True
    return found


def _matches(pattern: str, name: str) -> bool:
    """Return whether `name` matches a pattern of `*` and `?`, in bounded time for any pattern."""
    position, place, star, resume = 0, 0, -1, 0
    while place < len(name):
        if position < len(pattern) and pattern[position] == "*":
            star, resume = position, place
            position += 1
        elif position < len(pattern) and pattern[position] in {"?", name[place]}:
            position += 1
            place += 1
        elif star >= 0:
            resume += 1
            position, place = star + 1, resume
        else:
            return False
    return not pattern[position:].strip("*")


def _is_hash_of(hashed: str, name: str) -> bool:
    parts = hashed.split("|")
    if len(parts) != 4 or parts[1] != "1" or (salt := _decoded(parts[2])) is None or len(salt) != _HASH_BYTES:
        return False
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return parts[3] == base64.b64encode(digest).decode()


def _read_key(text: str) -> HostKey | None:
    kind, _, rest = _word(text)
    encoded = re.sub(r"[\r\v\f]", "", _word(rest)[0])
    blob = _decoded(encoded)
    if not blob or next(_fields(blob), b"").decode("latin-1") != kind:
        return None
    return HostKey(kind, blob)


def _decoded(text: str) -> bytes | None:
    """Return the bytes of a base64 text, or None where it is not in canonical form."""
    try:
        found = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return found if base64.b64encode(found).decode() == text else None


def _fields(blob: bytes) -> Iterator[bytes]:
    """Yield the strings of a blob (RFC 4251, section 5)."""
    while len(blob) >= 4:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            return
        yield blob[4 : 4 + size]
        blob = blob[4 + size :]

"""SSH keys as texts: public keys that users bring, and ed25519 key pairs of our own.

Of a key pair the 32 secret bytes are kept, in base64. The texts that OpenSSH reads follow from them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import struct
from collections.abc import Callable
from typing import NamedTuple

ED25519 = "ssh-ed25519"
LEAST_RSA_BITS = 3072
MOST_RSA_BITS = 16_384
MAX_COMMENT = 64
MAX_LINE = 8192

_SECRET_BYTES = 32
_CURVES = {"nistp256": 32, "nistp384": 48, "nistp521": 66}
"""Curve -> the length of a coordinate in bytes (RFC 5656)."""


class BadKeyError(ValueError):
    """A text that is no public key for VMs; the message says why."""


# --- key pairs of our own ---------------------------------------------------------------------------------------------


def new_secret() -> str:
    """Return the secret of a new ed25519 key pair."""
    return base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def public_key(secret: str, comment: str = "") -> str:
    """Return the public key of a secret as a line of `authorized_keys`."""
    blob = _strings(ED25519.encode(), _public_bytes(secret))
    return " ".join(filter(None, (ED25519, base64.b64encode(blob).decode(), comment)))


def private_key(secret: str) -> str:
    """Return the private key of a secret as OpenSSH keeps it in a file (PROTOCOL.key of OpenSSH).

    The check number of the format, elsewhere random, follows from the key, so that equal secrets give equal texts.
    """
    public = _public_bytes(secret)
    check = public[:4] * 2
    pair = _strings(ED25519.encode(), public, base64.b64decode(secret) + public, b"")
    padding = bytes(range(1, 1 + -(len(check) + len(pair)) % 8))
    blob = _strings(ED25519.encode(), public)
    whole = b"openssh-key-v1\0" + _strings(b"none", b"none", b"") + struct.pack(">I", 1)
    text = base64.b64encode(whole + _strings(blob, check + pair + padding)).decode()
    lines = (text[start : start + 70] for start in range(0, len(text), 70))
    return "\n".join(("-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""))


def _public_bytes(secret: str) -> bytes:
    # 20 ms, which the menu's first prompt does not wait for.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret)).public_key().public_bytes_raw()


def _strings(*parts: bytes) -> bytes:
    """Return the parts as strings of the SSH protocol: each behind its length (RFC 4251)."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


# --- public keys of users ---------------------------------------------------------------------------------------------


class PublicKey(NamedTuple):
    """A public key: its type, its data in base64, and a comment, which may be empty."""

    kind: str
    data: str
    comment: str

    def __str__(self) -> str:
        return " ".join(filter(None, self))

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint as ssh-keygen shows it."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"

    def is_same(self, other: PublicKey) -> bool:
        """Return whether both are one key, whatever their comments say."""
        return self.data == other.data


def read_public_key(text: str) -> PublicKey:
    """Return the one key of a text, written again from what was checked; raise `BadKeyError` where it is none.

    The data has to be a key of its type, without anything behind it. Of the comment only plain characters stay.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise BadKeyError(f"a public key is one line, and this has {len(lines)}")
    if "PRIVATE KEY" in lines[0]:
        raise BadKeyError("this is a private key, which stays with you: give the file that ends in .pub")
    kind, data, *comment = [*lines[0].split(None, 2), ""][:3] if " " in lines[0] else ("", "")
    check = _CHECKS.get(kind)
    if check is None:
        raise BadKeyError(
            "the line has to begin with the type of the key, without options before it: one of " + ", ".join(_CHECKS)
        )
    if len(lines[0]) > MAX_LINE:
        raise BadKeyError(f"the line has {len(lines[0])} characters; at most {MAX_LINE} are allowed")
    try:
        blob = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadKeyError(f"the text behind {kind} is no base64; copy the whole line again") from None
    wire = _Wire(blob)
    if wire.string() != kind.encode():
        raise BadKeyError(f"the key is not of the type {kind}, which stands before it")
    check(wire)
    wire.end()
    return PublicKey(kind, base64.b64encode(blob).decode(), _plain("".join(comment)))


def _plain(comment: str) -> str:
    return re.sub(r"[^A-Za-z0-9@._-]+", "-", comment.strip()).strip("-")[:MAX_COMMENT]


class _Wire:
    """The rest of a key's data, read from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def string(self) -> bytes:
        """Return the next string."""
        length = int.from_bytes(self._rest[:4], "big")
        if len(self._rest) < 4 + length or len(self._rest) < 4:
            raise BadKeyError("the key is not whole; copy the whole line again")
        found, self._rest = self._rest[4 : 4 + length], self._rest[4 + length :]
        return found

    def expect(self, right: bool) -> None:
        """Raise `BadKeyError` where a part of the key is not as its type wants it."""
        if not right:
            raise BadKeyError("the key is damaged; copy the whole line again")

    def end(self) -> None:
        """Raise `BadKeyError` where something is left."""
        self.expect(not self._rest)


def _check_ed25519(wire: _Wire) -> None:
    wire.expect(len(wire.string()) == 32)


def _check_rsa(wire: _Wire) -> None:
    parts = wire.string(), wire.string()
    exponent, modulus = (int.from_bytes(part, "big", signed=True) for part in parts)
    wire.expect(exponent > 2 and modulus > 0)
    # OpenSSH skips further zeros, so with them one key would have several texts.
    wire.expect([len(part) for part in parts] == [number.bit_length() // 8 + 1 for number in (exponent, modulus)])
    if modulus.bit_length() < LEAST_RSA_BITS:
        raise BadKeyError(
            f"an RSA key needs {LEAST_RSA_BITS} bits or more, and this has {modulus.bit_length()}:"
            " make a new key with ssh-keygen -t ed25519"
        )
    wire.expect(modulus.bit_length() <= MOST_RSA_BITS)


def _check_ecdsa(wire: _Wire, curve: str) -> None:
    wire.expect(wire.string() == curve.encode())
    point = wire.string()
    wire.expect(len(point) == 1 + 2 * _CURVES[curve] and point[0] == 4)


def _check_application(wire: _Wire) -> None:
    wire.expect(0 < len(wire.string()) <= 255)


def _check_sk_ed25519(wire: _Wire) -> None:
    _check_ed25519(wire)
    _check_application(wire)


def _check_sk_ecdsa(wire: _Wire) -> None:
    _check_ecdsa(wire, "nistp256")
    _check_application(wire)


_CHECKS: dict[str, Callable[[_Wire], None]] = {
    ED25519: _check_ed25519,
    "ssh-rsa": _check_rsa,
    **{f"ecdsa-sha2-{curve}": lambda wire, curve=curve: _check_ecdsa(wire, curve) for curve in _CURVES},  # type: ignore[misc]
    "sk-ssh-ed25519@openssh.com": _check_sk_ed25519,
    "sk-ecdsa-sha2-nistp256@openssh.com": _check_sk_ecdsa,
}

_KINDS = "|".join(map(re.escape, _CHECKS))
_LINE = re.compile(rf"({_KINDS}) [A-Za-z0-9+/]{{16,{MAX_LINE}}}={{0,2}}( [A-Za-z0-9@._-]{{1,{MAX_COMMENT}}})?")
_SECRET = re.compile(r"[A-Za-z0-9+/]{43}=")


def is_public_key(line: str) -> bool:
    """Return whether a line has the form in which `read_public_key` writes keys."""
    return _LINE.fullmatch(line) is not None


def kept_public_key(line: str) -> PublicKey:
    """Return the key of a line that has this form. An operator may have written it, so its data may be any."""
    kind, data, *comment = line.split(" ")
    return PublicKey(kind, data, "".join(comment))


def is_secret(text: str) -> bool:
    """Return whether a text has the form of `new_secret`."""
    return _SECRET.fullmatch(text) is not None

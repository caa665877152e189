"""Digests of passwords: scrypt with a salt (RFC 7914) is written; the documented SHA-256 hex digest is read as well.

A digest is `scrypt$<n>$<r>$<p>$<salt>$<hash>`, salt and hash in hex, so that its cost can grow without a second format.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata

from core.errors import Refused

MIN_NEW_LENGTH = 8
MAX_LENGTH = 256
SALT_BYTES = 16
HASH_BYTES = 32
COST_N, COST_R, COST_P = 16_384, 8, 1
MAX_MEMORY = 64 * 1024 * 1024
"""Maximum memory of one derivation in bytes; a stored cost beyond it does not verify. Ours takes 16 MiB."""

_LONGEST_DECOMPOSITION = 4
"""Maximum number of characters that become one in NFC (Unicode, UAX 15)."""

_SHIPPED = {"admin", "student"}
_CURRENT = f"scrypt${COST_N}${COST_R}${COST_P}$"
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_SCRYPT = re.compile(r"scrypt\$([0-9]{1,7})\$([0-9]{1,2})\$([0-9])\$([0-9a-f]{32,128})\$([0-9a-f]{64})")


def is_digest(stored: str) -> bool:
    """Return whether `stored` has the form of a digest that `verify` reads."""
    return _SHA256.fullmatch(stored) is not None or _SCRYPT.fullmatch(stored) is not None


def is_outdated(stored: str) -> bool:
    """Return whether `stored` differs in kind or cost from the digests that `hash_password` writes."""
    return not (stored.startswith(_CURRENT) and is_digest(stored))


def is_shipped(username: str, password: str) -> bool:
    """Return whether `password` is public: the user's own name, or a password of a fresh `database.yaml`."""
    return password == username or password in _SHIPPED


def is_of_shipped(username: str, stored: str) -> bool:
    """Return whether `stored` was made from a password that `is_shipped`; it takes a derivation for each of them."""
    return any(verify(stored, password) for password in sorted({username, *_SHIPPED}))


def check_new(username: str, password: str) -> None:
    """Raise `Refused` where `password` is too short, too long or public."""
    if is_shipped(username, password):
        raise Refused("A password is not the user's name; choose another one")
    if not MIN_NEW_LENGTH <= len(normal(password)) <= MAX_LENGTH:
        raise Refused(f"A password has {MIN_NEW_LENGTH} to {MAX_LENGTH} characters")


def normal(password: str) -> str:
    """Return the password in Unicode's form NFC: keyboards send an accent alone or with its letter."""
    return unicodedata.normalize("NFC", password)


def hash_password(password: str) -> str:
    """Return a digest of `normal(password)` with its own salt. It takes about 50 ms, on purpose."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"{_CURRENT}{salt.hex()}${_derive(normal(password), salt, COST_N, COST_R, COST_P).hex()}"


def verify(stored: str, password: str) -> bool:
    """Return whether `stored` was made from `password` as typed, or from its `normal` form.

    It is False where `stored` is no digest. Every form costs one derivation, also for a SHA-256 digest and an empty
    `stored`: the duration does not reveal whether a user exists.
    """
    if len(password) > MAX_LENGTH * _LONGEST_DECOMPOSITION:
        return False
    forms = dict.fromkeys((password, normal(password)))
    return any(_matches(stored, form) for form in forms if 1 <= len(form) <= MAX_LENGTH)


def is_to_be_renewed(stored: str, password: str) -> bool:
    """Return whether the digest that `password` matched is outdated or was made from a form other than NFC."""
    return is_outdated(stored) or (normal(password) != password and not _matches(stored, normal(password)))


def _matches(stored: str, password: str) -> bool:
    if match := _SCRYPT.fullmatch(stored):
        n, r, p = (int(match[group]) for group in (1, 2, 3))
        try:
            derived = _derive(password, bytes.fromhex(match[4]), n, r, p)
        except ValueError:  # a cost that scrypt does not know or that takes too much memory; an odd count of hex digits
            return False
        return hmac.compare_digest(derived.hex(), match[5])
    _derive(password, bytes(SALT_BYTES), COST_N, COST_R, COST_P)
    return bool(_SHA256.fullmatch(stored)) and hmac.compare_digest(
        hashlib.sha256(_encoded(password)).hexdigest(), stored.lower()
    )


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(_encoded(password), salt=salt, n=n, r=r, p=p, maxmem=MAX_MEMORY, dklen=HASH_BYTES)


def _encoded(password: str) -> bytes:
    # A terminal that does not speak UTF-8 gives lone surrogates, which plain UTF-8 refuses with an exception.
    return password.encode("utf-8", "surrogatepass")

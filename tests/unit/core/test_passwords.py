"""Digests: passwords that verify or not, and stored texts, none of which causes an exception or a long wait."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import passwords
from core.errors import Refused
from core.passwords import check_new, hash_password, is_digest, is_outdated, verify

SALT = "00" * 16
HASH = "00" * 32
GOOD = hash_password("correct horse")


@pytest.fixture(autouse=True, scope="module")
def derivations() -> None:
    """Derive each time: the cost is what is tested."""


@pytest.fixture(autouse=True, scope="module")
def cheap_digests() -> None:
    """Let digests cost what they cost in use."""


def sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


@pytest.mark.long
@given(st.text(st.characters(), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_any_password_verifies_against_its_digest_and_no_other(password: str) -> None:
    digest = hash_password(password)
    assert verify(digest, password)
    assert not verify(digest, password + "x")


def test_a_digest_has_the_documented_form_and_a_salt_of_its_own() -> None:
    one, other = hash_password("same"), hash_password("same")
    assert one != other
    assert one.startswith("scrypt$16384$8$1$")
    assert is_digest(one)
    assert not is_outdated(one)


def test_a_digest_is_scrypt_as_the_standard_defines_it() -> None:
    # RFC 7914, section 12: scrypt("pleaseletmein", "SodiumChloride", 16384, 8, 1), first 32 of 64 bytes.
    # The salt there is shorter than one of ours, so the derivation is asked directly.
    derived = passwords._derive("pleaseletmein", b"SodiumChloride", 16384, 8, 1)
    assert derived.hex() == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"


@pytest.mark.parametrize("password", ["admin", "ñandú", "p"])
def test_the_documented_sha256_digest_verifies_in_either_case_and_is_outdated(password: str) -> None:
    assert verify(sha256(password), password)
    assert verify(sha256(password).upper(), password)
    assert not verify(sha256(password), password + " ")
    assert is_digest(sha256(password))
    assert is_outdated(sha256(password))


def test_a_cheaper_scrypt_digest_verifies_and_is_outdated() -> None:
    salt = bytes(16)
    stored = f"scrypt$1024$8$1${salt.hex()}${passwords._derive('secret', salt, 1024, 8, 1).hex()}"
    assert verify(stored, "secret")
    assert is_outdated(stored)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "admin",
        "x" * 64,
        "a" * 63,
        "a" * 65,
        "a" * 64 + "\n",
        "scrypt",
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        GOOD.upper(),
        GOOD.replace("scrypt", "bcrypt"),
        f"scrypt$0$8$1${SALT}${HASH}",
        f"scrypt$1$8$1${SALT}${HASH}",
        f"scrypt$16383$8$1${SALT}${HASH}",
        f"scrypt$16384$0$1${SALT}${HASH}",
        f"scrypt$16384$8$0${SALT}${HASH}",
        f"scrypt$-16384$8$1${SALT}${HASH}",
        f"scrypt$16384$8$1${SALT}0${HASH}",
        f"scrypt$16384$8$1$${HASH}",
        f"scrypt$16384$8$1${'zz' * 16}${HASH}",
        f"scrypt$4194304$8$1${SALT}${HASH}",
        f"scrypt$16384$99$9${SALT}${HASH}",
        f"scrypt$99999999999999999999$8$1${SALT}${HASH}",
        f"scrypt$١٦٣٨٤$8$1${SALT}${HASH}",
    ],
)
def test_a_text_that_is_no_digest_verifies_nothing_and_raises_nothing(stored: str) -> None:
    assert not verify(stored, "correct horse")
    assert not verify(stored, stored[:256])


@pytest.mark.long
@given(st.text(max_size=100))
@settings(max_examples=20, deadline=None)
def test_no_stored_text_makes_verify_raise(stored: str) -> None:
    assert not verify(stored, "correct horse")


@pytest.mark.parametrize("length", [0, 257, 1_000_000])
def test_a_password_of_no_or_too_many_characters_verifies_nothing(length: int) -> None:
    assert not verify(sha256("x" * length), "x" * length)


def test_a_password_of_256_characters_verifies() -> None:
    assert verify(sha256("x" * 256), "x" * 256)


def test_a_password_that_is_not_utf8_on_the_terminal_is_one_like_others() -> None:
    assert verify(hash_password("caf\udce9"), "caf\udce9")
    assert not verify(GOOD, "caf\udce9")


@pytest.mark.parametrize("stored", ["", GOOD, sha256("x"), "junk"], ids=["ghost", "scrypt", "sha256", "junk"])
def test_every_verification_makes_one_derivation_of_the_same_cost(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[tuple[int, ...]] = []
    derive = passwords._derive

    def counted(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
        costs.append((n, r, p))
        return derive(password, salt, n, r, p)

    monkeypatch.setattr(passwords, "_derive", counted)
    verify(stored, "anything")
    assert costs == [(16_384, 8, 1)]


@pytest.mark.parametrize("password", ["", "1234567", "x" * 257])
def test_a_new_password_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(Refused, match=r"^A password has 8 to 256 characters$"):
        check_new("alice", password)


@pytest.mark.parametrize("password", ["12345678", "x" * 256, "        "])
def test_a_new_password_of_8_to_256_characters_is_taken(password: str) -> None:
    check_new("alice", password)


# --- Accents ----------------------------------------------------------------------------------------------------------

COMPOSED = "contrase\u00f1a \u1e69\uac00"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def test_an_accent_is_the_same_by_itself_and_with_its_letter() -> None:
    assert COMPOSED != DECOMPOSED
    for kept in (COMPOSED, DECOMPOSED):
        digest = hash_password(kept)
        assert verify(digest, COMPOSED)
        assert verify(digest, DECOMPOSED)
        assert not verify(digest, COMPOSED.replace("\u00f1", "n"))


def test_a_digest_of_another_form_verifies_and_is_to_be_renewed() -> None:
    old = sha256(DECOMPOSED)
    assert verify(old, DECOMPOSED)
    assert not verify(old, COMPOSED)  # the typed form is unknown then
    assert passwords.is_to_be_renewed(old, DECOMPOSED)
    assert not passwords.is_to_be_renewed(hash_password("x" * 8), "x" * 8)
    assert not passwords.is_to_be_renewed(hash_password(COMPOSED), DECOMPOSED)


def test_a_salted_digest_of_another_form_is_to_be_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "normal", lambda password: password)
        old = hash_password(DECOMPOSED)
    assert verify(old, DECOMPOSED)
    assert not verify(old, COMPOSED)
    assert passwords.is_to_be_renewed(old, DECOMPOSED)


def test_the_length_of_a_password_is_that_of_its_letters() -> None:
    letters = unicodedata.normalize("NFD", "\u00f1" * 256)
    check_new("alice", letters)
    assert verify(hash_password(letters), letters)
    with pytest.raises(Refused):
        check_new("alice", unicodedata.normalize("NFD", "\u00f1" * 7))
    with pytest.raises(Refused):
        check_new("alice", "\u00f1" * 257)


def test_a_password_without_a_composed_form_is_kept_in_its_normal_form() -> None:
    """Use characters that are longer or different in NFC: the Angstrom sign, a letter of Devanagari."""
    for typed in ("\u212b" * 8, "\u0958" * 8, "caf\udce9 caf\udce9"):
        assert verify(hash_password(typed), typed)
        assert verify(hash_password(typed), unicodedata.normalize("NFC", typed))

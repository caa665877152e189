"""Public keys that users bring, and key pairs of our own."""

from __future__ import annotations

import base64
import io
import re
import struct

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ssh_keys import (
    MAX_COMMENT,
    BadKeyError,
    is_public_key,
    is_secret,
    new_secret,
    private_key,
    public_key,
    read_public_key,
)
from tests.support.paths import DATA

GOOD = [line for line in (DATA / "public_keys.txt").read_text().splitlines() if not line.startswith("#")]
ED25519, RSA, ECDSA = GOOD[:3]
KIND, BASE64, _ = ED25519.split()


def wire(*parts: bytes) -> str:
    return base64.b64encode(b"".join(struct.pack(">I", len(part)) + part for part in parts)).decode()


def rsa(bits: int, zeros: int = 0) -> str:
    modulus = ((1 << bits - 1) + 1).to_bytes(zeros + bits // 8 + 1, "big")
    return "ssh-rsa " + wire(b"ssh-rsa", (65_537).to_bytes(3, "big"), modulus)


@pytest.mark.parametrize("line", GOOD, ids=lambda line: line.split()[0])
def test_a_key_of_ssh_keygen_is_written_as_it_was(line: str) -> None:
    assert str(read_public_key(f"  {line}\n\n")) == line
    assert is_public_key(line)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a public key is one line, and this has 0"),
        (f"{ED25519}\n{RSA}", "one line, and this has 2"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "this is a private key, which stays with you"),
        (f'command="sh" {ED25519}', "without options before it"),
        (f"no-pty {ED25519}", "without options before it"),
        (f"ssh-dss {BASE64}", "one of ssh-ed25519, ssh-rsa"),
        (KIND, "has to begin with the type"),
        (f"{KIND} {BASE64[:-1]}!", "is no base64"),
        (f"ssh-rsa {BASE64}", "not of the type ssh-rsa"),
        (f"{KIND} {wire(b'ssh-ed25519', bytes(31))}", "damaged"),
        (f"{KIND} {wire(b'ssh-ed25519', bytes(32), b'more')}", "damaged"),
        (f"{KIND} {BASE64[:40]}", "not whole"),
        (f"{KIND} AAAA", "not whole"),
        (rsa(2048), "3072 bits or more, and this has 2048"),
        (rsa(16_392), "damaged"),
        (rsa(3072, zeros=1), "damaged"),
        (f"ecdsa-sha2-nistp256 {wire(b'ecdsa-sha2-nistp256', b'nistp384', bytes([4] * 97))}", "damaged"),
        (f"ecdsa-sha2-nistp256 {wire(b'ecdsa-sha2-nistp256', b'nistp256', bytes([2] * 33))}", "damaged"),
        (f"{ED25519} {'x' * 9000}", "at most 8192"),
    ],
)
def test_another_text_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(BadKeyError, match=re.escape(reason)):
        read_public_key(text)


def test_an_rsa_key_of_3072_bits_is_long_enough() -> None:
    assert read_public_key(rsa(3072)).kind == "ssh-rsa"


@given(st.text())
def test_a_comment_never_brings_more_than_plain_letters(comment: str) -> None:
    line = f"{KIND} {BASE64} {comment}"
    try:
        written = str(read_public_key(line))
    except BadKeyError:
        assert len(line.splitlines()) > 1 or len(line) > 8192
        return
    assert is_public_key(written)
    assert re.fullmatch(rf"{KIND} {re.escape(BASE64)}( [A-Za-z0-9@._-]{{1,{MAX_COMMENT}}})?", written)


@given(st.text())
def test_a_text_is_a_key_in_our_form_or_refused(text: str) -> None:
    try:
        key = read_public_key(text)
    except BadKeyError:
        return
    assert is_public_key(str(key))


def test_one_key_with_two_comments_is_one_key() -> None:
    one, other = read_public_key(f"{KIND} {BASE64} ana"), read_public_key(f"{KIND} {BASE64} eva")
    assert one.is_same(other)
    assert not one.is_same(read_public_key(RSA))


def test_a_pair_of_ours_is_read_by_others() -> None:
    secret = new_secret()
    assert is_secret(secret)
    pair = paramiko.Ed25519Key(file_obj=io.StringIO(private_key(secret)))
    assert f"ssh-ed25519 {pair.get_base64()}" == public_key(secret)
    assert is_public_key(public_key(secret, "slice"))


def test_a_secret_gives_the_same_texts_each_time() -> None:
    secret = new_secret()
    assert private_key(secret) == private_key(secret)
    assert new_secret() != secret

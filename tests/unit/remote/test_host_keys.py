"""Host keys: `remote.host_keys` and OpenSSH's own client, over one server and the same files."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from core.errors import HostUnusable
from core.inventory import SSHSettings
from remote import host_keys, known_hosts, ssh
from remote.host_keys import HostKey, KeyVerdict, KnownHosts
from remote.plan import Command, Step
from tests.support.loopback import LoopbackHost

ADDRESS = "127.0.0.1"
MODES = ("accept-new", "strict")


@pytest.fixture
def host(host: LoopbackHost) -> LoopbackHost:
    """Return a host with two keys."""
    host.more_host_keys = [RSA]
    return host


RSA = paramiko.RSAKey.generate(2048)
OTHER_RSA = paramiko.RSAKey.generate(2048)
OTHER = paramiko.ECDSAKey.generate()
ED25519 = "ssh-ed25519 " + base64.b64encode(
    b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
    + Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
).decode()  # fmt: skip

SAME = {
    "nothing": "",
    "the key": "{name} {key}",
    "another key": "{name} {other}",
    "a key of another kind": "{name} {ed25519}",
    "two keys, the second is right": "{name} {other}\n{name} {key}",
    "three kinds": "{name} {ed25519}\n{name} {key}\n{name} {rsa}",
    "the worse kind only, right": "{name} {rsa}",
    "the worse kind only, wrong": "{name} {other_rsa}",
    "both kinds, the better one wrong": "{name} {other}\n{name} {rsa}",
    "both kinds, the worse one wrong": "{name} {key}\n{name} {other_rsa}",
    "another host": "[127.0.0.2]:{port} {other}",
    "another port": "[127.0.0.1]:1 {other}",
    "without the port, right": "127.0.0.1 {key}",
    "without the port, wrong": "127.0.0.1 {other}",
    "without the port, right, and wrong with it": "127.0.0.1 {key}\n{name} {other}",
    "without the port, revoked": "@revoked 127.0.0.1 {key}",
    "several names": "localhost,{name},10.0.10.1 {key}",
    "several names, wrong": "localhost,{name},10.0.10.1 {other}",
    "a pattern, right": "[127.0.0.*]:* {key}",
    "a pattern, wrong": "[127.0.0.1*]:* {other}",
    "a pattern that is all": "* {other}",
    "a pattern with a mark": "[127.0.0.?]:{port} {key}",
    "a pattern without its last letter": "[127.0.0.]:{port} {other}",
    "not this one": "*,!{name} {other}",
    "not another one": "!10.0.0.1,* {key}",
    "only what it is not": "!10.0.0.1 {other}",
    "a pattern that takes long": "*" + "1*" * 300 + "x {other}",
    "a pattern that is too long": "*" + "?" * 1100 + " {other}",
    "hashed": "#hash\n{name} {key}",
    "hashed, wrong": "#hash\n{name} {other}",
    "hashed, without the port": "#hash\n127.0.0.1 {key}",
    "hashed, of another": "#hash\n[127.0.0.1]:1 {other}",
    "a hash of nothing": "|1|AAAA|BBBB {other}",
    "a hash of another kind": "|2|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {other}",
    "an authority of others": "@cert-authority *.example.org {ed25519}",
    "an authority, and the key": "@cert-authority * {ed25519}\n{name} {key}",
    "an authority, and another key": "@cert-authority * {ed25519}\n{name} {other}",
    "another key is revoked": "@revoked * {other}",
    "another key is revoked, and the key known": "@revoked * {other}\n{name} {key}",
    "the key is revoked": "@revoked * {key}",
    "the key is revoked, and known": "{name} {key}\n@revoked * {key}",
    "the key is revoked elsewhere": "@revoked 10.0.0.1 {key}\n{name} {key}",
    "a mark that does not exist": "@revokd * {key}\n{name} {key}",
    "two marks": "@revoked @revoked * {other}\n{name} {key}",
    "a comment and blanks": "# {name} {other}\n\n  \t\n  {name}\t{key}   a comment",
    "another comment": "\t# {name} {other}\n{name} {key}",
    "CRLF": "{name} {key}\r\n",
    "CRLF, wrong": "{name} {other}\r\n",
    "junk of another host": "10.0.0.1 ssh-ed25519 A\ncaf\xe9 ssh-rsa AAAA\n{name} {key}",
    "junk only": "10.0.0.1 ssh-ed25519 A\njunk",
    "a key that cannot be read, and the right one": "{name} ssh-ed25519 AAAA\n{name} {key}",
    "a zero": "{name} {other}\0",
    "a zero before": "\0{name} {other}",
    "an old kind": "{name} {dss}",
    "no end": "{name} {key} and so on",
}
"""Files on which both clients must agree. A first line `#hash`: `ssh-keygen -H` hashes the names."""

STRICTER = {
    "a key that cannot be read": "{name} ssh-ed25519 AAAA",
    "an unknown kind": "{name} ssh-mldsa {blob}",
    "a key whose kind is another one": "{name} ssh-ed25519 {blob}",
    "no key": "{name} ",
    "bits left over": "{name} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=",
}
"""Lines for the host that OpenSSH ignores: another version of it may read them."""


def written(path: Path, text: str, host: LoopbackHost) -> Path:
    """Write a file of the table."""
    rest = text.removeprefix("#hash\n")
    dss = b"\0\0\0\7ssh-dss" + b"\0\0\0\1\1" * 4
    for word, value in {
        "{name}": f"[{ADDRESS}]:{host.port}",
        "{port}": str(host.port),
        "{key}": line_of(host.host_key),
        "{blob}": host.host_key.get_base64(),
        "{other}": line_of(OTHER),
        "{rsa}": line_of(RSA),
        "{other_rsa}": line_of(OTHER_RSA),
        "{ed25519}": ED25519,
        "{dss}": f"ssh-dss {base64.b64encode(dss).decode()}",
    }.items():
        rest = rest.replace(word, value)
    path.write_bytes(rest.encode("latin-1") + (b"\n" if rest and not text.endswith("\n") else b""))
    if text != rest and text.startswith("#hash"):
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
        assert path.read_bytes().startswith(b"|1|")
    return path


def line_of(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def openssh_connects(settings: SSHSettings) -> bool:
    """Return whether OpenSSH's client connects by its own rules alone."""
    checking = "yes" if settings.host_keys == "strict" else "accept-new"
    options = (
        *("BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", f"UserKnownHostsFile={settings.known_hosts}"),
        *("GlobalKnownHostsFile=/dev/null", "CheckHostIP=no", "UpdateHostKeys=no", "HashKnownHosts=no"),
        f"StrictHostKeyChecking={checking}",
    )
    words = [word for option in options for word in ("-o", option)]
    argv = ["ssh", "-F", "none", *words, "-i", settings.key_file, "-p", str(settings.port), f"ubuntu@{ADDRESS}", "true"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode in {0, 255}, done
    return done.returncode == 0


def refusal(settings: SSHSettings) -> str:
    """Return the reason why our client does not connect, or an empty string."""
    client = ssh.SSHHost(ADDRESS, settings)
    try:
        list(client.run([Step(ADDRESS, "a step", (Command(("true",)),))]))
    except HostUnusable as error:
        return str(error)
    finally:
        client.close()
    return ""


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", SAME)
def test_both_clients_are_of_one_mind(host: LoopbackHost, tmp_path: Path, case: str, mode: str) -> None:
    theirs, ours = written(tmp_path / "theirs", SAME[case], host), tmp_path / "ours"
    before = theirs.read_bytes()
    ours.write_bytes(before)
    connects = openssh_connects(host.settings(tmp_path, known_hosts=str(theirs), host_keys=mode))
    why = refusal(host.settings(tmp_path, known_hosts=str(ours), host_keys=mode))
    assert (not why) == connects, why
    assert ours.read_bytes() == theirs.read_bytes()
    if why:
        assert ours.read_bytes() == before
        assert f"{ours}, line " in why or "host_keys is strict" in why
    elif before != ours.read_bytes():  # at the second connection both clients know it
        strict = host.settings(tmp_path, known_hosts=str(ours), host_keys="strict")
        assert not refusal(strict)
        assert openssh_connects(strict)


@pytest.mark.parametrize("case", STRICTER)
def test_a_line_for_the_host_that_cannot_be_read_is_refused_with_its_place(
    host: LoopbackHost, tmp_path: Path, case: str
) -> None:
    known_hosts = written(tmp_path / "known", f"# first\n{STRICTER[case]}", host)
    before = known_hosts.read_bytes()
    why = refusal(host.settings(tmp_path, known_hosts=str(known_hosts)))
    assert f"{known_hosts}, line 2, names this host with a key that cannot be read" in why
    assert known_hosts.read_bytes() == before


def test_the_sentence_of_a_changed_key_names_line_and_key(host: LoopbackHost, tmp_path: Path) -> None:
    known_hosts = written(tmp_path / "known", "# first\n{name} {other}", host)
    why = refusal(host.settings(tmp_path, known_hosts=str(known_hosts)))
    found = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=line_of(host.host_key), capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert f"not the one in {known_hosts}, line 2 (now ecdsa-sha2-nistp256 {found})" in why


def test_an_authority_is_named_where_strict_has_no_key(host: LoopbackHost, tmp_path: Path) -> None:
    known_hosts = written(tmp_path / "known", "@cert-authority [127.0.0.*]:* {ed25519}", host)
    why = refusal(host.settings(tmp_path, known_hosts=str(known_hosts), host_keys="strict"))
    assert "line 1 names a certificate authority" in why


@pytest.mark.parametrize("kind", ["folder", "no right", "nowhere"])
def test_a_file_that_cannot_be_used(host: LoopbackHost, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "known"
    if kind == "folder":
        path.mkdir()
    elif kind == "no right":
        path = Path("/proc/self/mem/known")
    else:
        path = Path("/proc/1/known")
    why = refusal(host.settings(tmp_path, known_hosts=str(path)))
    assert f"{path} cannot be used" in why
    assert "another file in ssh: known_hosts" in why


def test_a_key_that_another_process_remembered_meanwhile(tmp_path: Path) -> None:
    """Write a key between check and append: the same key is not written twice, another one is refused."""
    path = tmp_path / "known"
    mine, theirs = (HostKey(key.get_name(), key.asbytes(), 256) for key in (OTHER, paramiko.ECDSAKey.generate()))
    known_hosts._remember(str(path), "10.0.10.1", 22, mine)
    content = path.read_bytes()
    known_hosts._remember(str(path), "10.0.10.1", 22, mine)
    with pytest.raises(host_keys.KeyRefused, match="line 1"):
        known_hosts._remember(str(path), "10.0.10.1", 22, theirs)
    assert path.read_bytes() == content


def test_a_short_rsa_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(host_keys.KeyRefused, match="has 768 bits"):
        known_hosts.check(str(tmp_path / "known"), ADDRESS, 22, HostKey("ssh-rsa", b"x", 768), accept_new=True)


def test_no_pattern_takes_long() -> None:
    began = time.monotonic()
    line = b"*" + b"a*" * 500 + b"b ssh-ed25519 AAAA\n"
    assert not KnownHosts(line * 200, "known").entries("a" * 200)
    assert time.monotonic() - began < 10


def test_kinds_that_are_known_are_asked_for_first() -> None:
    known = KnownHosts(f"a {line_of(RSA)}\nb {ED25519}\nb {line_of(RSA)}\n".encode(), "known")
    assert known.order("a")[:2] == ("ssh-rsa", "ssh-ed25519")
    assert known.order("b") == known.order("c") == host_keys.DEFAULT_ORDER
    key = HostKey(RSA.get_name(), RSA.asbytes())
    assert known.judge("a", 22, key) == (KeyVerdict.KNOWN, 1)
    assert known.judge("c", 22, key) == (KeyVerdict.NEW, 0)


# --- the user's own key -----------------------------------------------------------------------------------------------


def certify(folder: Path, host: LoopbackHost, validity: str) -> SSHSettings:
    """Put a certificate next to the user's key, from an authority that the server does not know."""
    settings = host.settings(folder)
    public = folder / "key.pub"
    public.write_text(line_of(host.user_key) + "\n", encoding="ascii")
    authority = folder / "authority"
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    authority.write_bytes(private)
    authority.chmod(0o600)
    argv = ["ssh-keygen", "-q", "-s", str(authority), "-I", "id", "-n", "ubuntu", "-V", validity, str(public)]
    subprocess.run(argv, check=True, capture_output=True)
    assert (folder / "key-cert.pub").exists()
    return settings


@pytest.mark.parametrize("validity", ["-2d:-1d", "-1d:+1d"])
def test_a_certificate_that_is_refused_does_not_keep_the_key_out(
    host: LoopbackHost, tmp_path: Path, validity: str
) -> None:
    settings = certify(tmp_path, host, validity)
    assert openssh_connects(settings)
    assert not refusal(settings)


def test_a_certificate_that_cannot_be_read_does_not_keep_the_key_out(host: LoopbackHost, tmp_path: Path) -> None:
    settings = certify(tmp_path, host, "-1d:+1d")
    for junk in (b"", b"junk", b"ecdsa-sha2-nistp256-cert-v01@openssh.com AAAA", b"\xff\xfe"):
        (tmp_path / "key-cert.pub").write_bytes(junk)
        assert openssh_connects(settings)
        assert not refusal(settings)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o604, 0o644, 0o660, 0o610, 0o700])
def test_a_key_file_that_openssh_refuses_is_refused_at_once(host: LoopbackHost, tmp_path: Path, mode: int) -> None:
    settings = host.settings(tmp_path)
    Path(settings.key_file).chmod(mode)
    why = refusal(settings)
    if why:
        assert f"open to others (mode {mode:04o}), so ssh refuses it: chmod 600 {settings.key_file}" in why
        assert not host.connections
    assert (not why) == openssh_connects(settings)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_revoked_authority_is_found_in_a_certificate(tmp_path: Path, kind: str) -> None:
    for name in ("authority", "host"):
        argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(argv, check=True, capture_output=True)
    sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "authority"), "-h", "-I", "id", "-n", ADDRESS]
    subprocess.run([*sign, str(tmp_path / "host.pub")], check=True, capture_output=True)
    (name, plain), (_, certificate), (_, authority) = (
        (words[0], base64.b64decode(words[1]))
        for words in ((tmp_path / f"{each}.pub").read_text().split() for each in ("host", "host-cert", "authority"))
    )
    assert host_keys.authority_of(certificate) == authority
    assert host_keys.authority_of(certificate[:100]) == host_keys.authority_of(b"") == b""
    known = KnownHosts(f"@revoked * {(tmp_path / 'authority.pub').read_text()}".encode(), "known")
    assert known.revokes(ADDRESS)
    assert known.judge(ADDRESS, 22, HostKey(name, plain)) == (KeyVerdict.NEW, 0)
    assert known.judge(ADDRESS, 22, HostKey(name, plain, 0, authority)) == (KeyVerdict.REVOKED, 1)

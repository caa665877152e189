"""Known host keys that managers share, and the file of each manager, which is a copy of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.errors import FileFault
from remote import known_hosts
from remote.host_keys import HostKey, KeyRefused

HOST, OTHER_HOST = "10.0.10.1", "10.0.10.2"


def key(letter: str) -> HostKey:
    kind = b"ssh-ed25519"
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, letter.encode() * 32))
    return HostKey(kind.decode(), blob)


OLD, NEW = key("a"), key("b")


def line(host: str, of: HostKey) -> bytes:
    return f"{host} {of.kind} {base64.b64encode(of.blob).decode()}\n".encode()


@dataclass
class SomeKeys:
    """Shared keys in memory."""

    content: bytes | None = None
    looks: int = 0
    lost: bool = False

    @contextmanager
    def host_keys(self) -> Iterator[SomeKeys]:
        if self.lost:
            raise FileFault("the database is gone")
        self.looks += 1
        yield self


@dataclass
class Manager:
    """A manager with its file."""

    path: Path
    keys: SomeKeys | None
    names: list[str] = field(default_factory=list)

    def meet(self, host: str, presented: HostKey, *, accept_new: bool = True) -> None:
        known_hosts.fetch(self.keys, str(self.path), host, 22)
        known_hosts.check(str(self.path), host, 22, presented, accept_new=accept_new, shared=self.keys)


@pytest.fixture
def keys() -> SomeKeys:
    return SomeKeys()


@pytest.fixture
def managers(keys: SomeKeys, tmp_path: Path) -> tuple[Manager, Manager]:
    return Manager(tmp_path / "one", keys), Manager(tmp_path / "other", keys)


def test_a_key_that_one_manager_remembers_is_known_to_all(managers: tuple[Manager, Manager], keys: SomeKeys) -> None:
    one, other = managers
    one.meet(HOST, OLD)
    assert keys.content == one.path.read_bytes() == line(HOST, OLD)
    other.meet(HOST, OLD, accept_new=False)
    assert other.path.read_bytes() == line(HOST, OLD)


def test_another_key_is_refused_by_all(managers: tuple[Manager, Manager], keys: SomeKeys) -> None:
    managers[0].meet(HOST, OLD)
    for manager in managers:
        with pytest.raises(KeyRefused, match=r"not the one .*host forget-key 10\.0\.10\.1"):
            manager.meet(HOST, NEW)
    assert keys.content == line(HOST, OLD)


def test_a_known_host_needs_no_look_at_the_shared_keys(managers: tuple[Manager, Manager], keys: SomeKeys) -> None:
    one, _ = managers
    one.meet(HOST, OLD)
    keys.lost = True
    one.meet(HOST, OLD)
    with pytest.raises(KeyRefused, match="cannot be compared with those of other managers"):
        one.meet(OTHER_HOST, OLD)


def test_a_key_that_was_forgotten_makes_room_for_the_next_one(
    managers: tuple[Manager, Manager], keys: SomeKeys
) -> None:
    one, other = managers
    for manager in managers:
        manager.meet(HOST, OLD)
        manager.meet(OTHER_HOST, OLD)
    assert known_hosts.forget(keys, str(one.path), HOST, 22)
    assert not known_hosts.forget(keys, str(one.path), HOST, 22)
    with pytest.raises(KeyRefused):
        other.meet(HOST, NEW)
    one.meet(HOST, NEW)
    other.meet(HOST, NEW)
    assert keys.content == line(OTHER_HOST, OLD) + line(HOST, NEW)
    assert sorted(other.path.read_bytes().split(b"\n")) == sorted(keys.content.split(b"\n"))


def test_two_managers_that_meet_a_host_at_once_agree(managers: tuple[Manager, Manager], keys: SomeKeys) -> None:
    one, other = managers
    known_hosts.fetch(keys, str(other.path), HOST, 22)  # there is none yet
    one.meet(HOST, OLD)
    with pytest.raises(KeyRefused, match="not the one that all managers know"):
        known_hosts.check(str(other.path), HOST, 22, NEW, accept_new=True, shared=keys)
    known_hosts.check(str(other.path), HOST, 22, OLD, accept_new=True, shared=keys)
    assert keys.content == line(HOST, OLD)


def test_a_file_alone_forgets_a_key_too(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "alone", None)
    manager.meet(HOST, OLD)
    manager.path.write_bytes(b"# by hand\n" + manager.path.read_bytes() + b"@revoked * " + line("", NEW).lstrip())
    assert known_hosts.forget(None, str(manager.path), HOST, 22)
    assert manager.path.read_bytes() == b"# by hand\n@revoked * " + line("", NEW).lstrip()

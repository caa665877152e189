"""The file of known host keys: new keys are remembered in it, and shared with other managers.

Where managers share keys, the shared ones decide. This manager's file is a copy of them: ssh(1) reads it, and a host
that is known there needs no look at the shared ones.
"""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, Protocol

from core.errors import CloudError
from remote.host_keys import LEAST_RSA_BITS, HostKey, KeyRefused, KeyVerdict, KnownHosts, is_known, named, unusable


class SharedKeys(Protocol):
    """Known keys that several managers share, in the format of the file."""

    def host_keys(self) -> AbstractContextManager[SharedContent]:
        """Yield them under their lock, and save what the body leaves. Raise `CloudError` where that is not possible."""


class SharedContent(Protocol):
    """Bytes that may be replaced; None where there are none yet."""

    content: bytes | None


def fetch(shared: SharedKeys | None, path: str, address: str, port: int) -> None:
    """Bring the shared keys of a host into this manager's file, where the file does not know the host yet."""
    name = named(address, port)
    if shared is None or KnownHosts.read(path).entries(name):
        return
    with _usable(path), shared.host_keys() as known:
        lines = KnownHosts(known.content or b"", path).lines_for(name)
        if lines:
            _append(path, b"\n".join(lines) + b"\n")


def forget(shared: SharedKeys | None, path: str, address: str, port: int) -> bool:
    """Forget the plain keys of a host, which was installed again; return whether there were any."""
    name, found = named(address, port), False
    with _usable(path), shared.host_keys() if shared else nullcontext(None) as known:
        here = KnownHosts.read(path)
        if here.without(name) != here.content:
            found = True
            _replace(path, here.without(name))
        if known and known.content:
            there = KnownHosts(known.content, path)
            found = found or there.without(name) != there.content
            known.content = there.without(name)
    return found


def check(
    path: str, address: str, port: int, key: HostKey, *, accept_new: bool, shared: SharedKeys | None = None
) -> None:
    """Check the key that a host presented; a new one is remembered with `accept_new`. Raise `KeyRefused` otherwise.

    Where managers share keys, the shared ones decide, and this manager's file is a copy of them.
    """
    if key.kind == "ssh-rsa" and key.bits < LEAST_RSA_BITS:
        raise KeyRefused(f"its host key ({key}) has {key.bits} bits, and ssh takes {LEAST_RSA_BITS} or more")
    known = KnownHosts.read(path)
    if shared and known.judge(address, port, key)[0] is KeyVerdict.CHANGED:
        _renew(shared, path, address, port, key)
        return
    if is_known(known, path, address, port, key, accept_new=accept_new):
        return
    with _usable(path):
        if shared:
            _share(shared, path, address, port, key)
        _remember(path, address, port, key)


def _renew(shared: SharedKeys, path: str, address: str, port: int, key: HostKey) -> None:
    """Bring a host's shared keys into this manager's file; raise `KeyRefused` where they lack the key, too."""
    name = named(address, port)
    with _usable(path), shared.host_keys() as keys:
        known = KnownHosts(keys.content or b"", path)
        if known.judge(address, port, key)[0] is not KeyVerdict.KNOWN:
            raise _another(address, key)
        _replace(path, KnownHosts.read(path).without(name))
        _append(path, b"\n".join(known.lines_for(name)) + b"\n")


def _share(shared: SharedKeys, path: str, address: str, port: int, key: HostKey) -> None:
    """Add a new key to the shared ones, unless another manager has done so meanwhile."""
    with shared.host_keys() as keys:
        content = keys.content or b""
        known = KnownHosts(content, path)
        if known.judge(address, port, key)[0] is KeyVerdict.CHANGED:
            raise _another(address, key)
        if not is_known(known, path, address, port, key, accept_new=True):
            keys.content = _with_end(content) + _line(address, port, key)


def _another(address: str, key: HostKey) -> KeyRefused:
    advice = f"if it was reinstalled, an operator runs: cli.py host forget-key {address}"
    return KeyRefused(f"its host key is not the one that all managers know (now {key}); {advice}")


def _remember(path: str, address: str, port: int, key: HostKey) -> None:
    """Append the key of a new host, unless another process has done so meanwhile.

    The line is appended in one write, after a line break where the last line lacks one.
    """
    with _locked(path) as file:
        content = file.read()
        if not is_known(KnownHosts(content, path), path, address, port, key, accept_new=True):
            _append_to(file, content, _line(address, port, key))


def _line(address: str, port: int, key: HostKey) -> bytes:
    return f"{named(address, port)} {key.kind} {base64.b64encode(key.blob).decode()}\n".encode("ascii")


def _with_end(content: bytes) -> bytes:
    """Return the content, whose last line ends."""
    return content + (b"\n" if content and not content.endswith(b"\n") else b"")


@contextmanager
def _locked(path: str) -> Iterator[BinaryIO]:
    """Yield the file, at its beginning and locked; it is made where it is missing."""
    file_path = Path(path).expanduser()
    file_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file_path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file


def _append_to(file: BinaryIO, content: bytes, lines: bytes) -> None:
    file.seek(0, os.SEEK_END)
    file.write(_with_end(content)[len(content) :] + lines)


def _append(path: str, lines: bytes) -> None:
    with _locked(path) as file:
        _append_to(file, file.read(), lines)


def _replace(path: str, content: bytes) -> None:
    with _locked(path) as file:
        file.truncate(0)
        file.write(content)


@contextmanager
def _usable(path: str) -> Iterator[None]:
    """Raise `KeyRefused` where the file or the shared keys cannot be used."""
    try:
        yield
    except CloudError as error:
        raise KeyRefused(f"its host key cannot be compared with those of other managers ({error})") from error
    except (OSError, RuntimeError) as error:
        raise KeyRefused(unusable(path, error)) from error

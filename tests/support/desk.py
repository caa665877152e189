"""A desk: the real use-cases over a real store, on a cloud of fake hosts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from core.status import VMStart
from database import Database, Store, open_store
from models import Slice
from orchestrator import OrchestratorAPI, Result
from storage.location import Location, ServerURL
from tests.support.designs import FLAVOR
from tests.support.fake_hosts import FakeHost, FakeHosts

WORKERS = ("10.0.10.1", "10.0.10.2")
NETWORK = "10.0.10.3"
PASSWORD_HASH = "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918"


class FakeChannel:
    """The streams of a program that has written `words`; it has ended unless they let a visitor in."""

    def __init__(self, words: bytes, complaint: bytes = b"") -> None:
        self._words = words
        self._complaint = complaint
        self.sent = b""
        self.closed = False
        self.eof_received = True

    def fileno(self) -> int:
        return -1

    def settimeout(self, timeout: float | None, /) -> None:
        assert timeout is None or timeout > 0

    def recv(self, nbytes: int, /) -> bytes:
        received, self._words = self._words[:nbytes], self._words[nbytes:]
        return received

    def recv_ready(self) -> bool:
        return bool(self._words)

    def recv_stderr(self, nbytes: int, /) -> bytes:
        received, self._complaint = self._complaint[:nbytes], self._complaint[nbytes:]
        return received

    def recv_stderr_ready(self) -> bool:
        return bool(self._complaint)

    def send(self, s: bytes, /) -> int:
        self.sent += s
        return len(s)

    def shutdown_write(self) -> None:
        self.sent += b"(end)"

    def close(self) -> None:
        self.closed = True


class ConsoleHost(FakeHost):
    """A fake host that records opened consoles and ports; `answers` are its words for each visitor, then `ready`."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.opened: list[tuple[str, ...]] = []
        self.answers: list[str] = []
        self.complaint = ""
        self.joined: list[list[str]] = []
        """The words of the script for each port."""

    def open_terminal(self, argv: tuple[str, ...], script: str) -> FakeChannel:
        answer = self.answers.pop(0) if self.answers else "ready"
        if argv[0] == "sudo":
            self.joined.append(shlex.split(script.partition("\n")[0])[2:])
            name, output = self.joined[-1][0], "SSH-2.0-guest\n" if answer == "ready" else ""
        elif "socat" in script:
            self.opened.append(argv)
            name, output = argv[8], "login: "
        else:
            self.opened.append(argv)
            name, output = argv[3], "the end of the log"
        words = f"Welcome\n{name}\n{name} {answer.removesuffix(' ')}\n{output}"
        return FakeChannel(words.encode(), self.complaint.format(visit=name).encode())


@dataclass
class Desk:
    """The API, its store and the hosts behind it."""

    api: OrchestratorAPI
    location: Location
    cloud: FakeHosts

    @property
    def path(self) -> Path:
        """Return the file; a test that asks for it is about the file, and is skipped where there is none."""
        if not isinstance(self.location, Path):
            pytest.skip("this test is about the file")
        return self.location

    @property
    def database(self) -> Store:
        """Return the store as another session has it."""
        return open_store(self.location) if isinstance(self.location, Path) else self._other_session

    @cached_property
    def _other_session(self) -> Store:
        return open_store(self.location)

    def ok(self, result: Result[Any]) -> Any:
        assert result[0], result[1]
        return result[1]

    def no(self, result: Result[Any]) -> str:
        assert not result[0], result[1]
        assert isinstance(result[1], str)
        assert "\n" not in result[1]
        return result[1]

    def slice(self, slice_id: int = 1000, owner: str = "student") -> Slice:
        slice_ = self.ok(self.api.get_slice(owner, slice_id))
        assert isinstance(slice_, Slice)
        return slice_

    def used(self, owner: str = "student") -> int:
        return int(self.ok(self.api.get_user(owner)).used_vms)

    def ring(self, count: int, owner: str = "student", *, nics: int = 2) -> Slice:
        """Create a ring of VMs with internet, in design; `nics` is the number of their data interfaces."""
        slice_ = self.ok(self.api.create_slice(owner, "ring"))
        vms = [
            self.ok(self.api.add_vm_to_slice(owner, slice_.slice_id, f"vm{number}", "cirros", nics, True))
            for number in range(count)
        ]
        for vm, following in zip(vms, [*vms[1:], vms[0]], strict=True):
            self.ok(self.api.create_link(owner, slice_.slice_id, vm.vm_id, "eth1", following.vm_id, "eth2"))
        return self.slice(slice_.slice_id, owner)


def open_desk(folder: Path, url: ServerURL | None = None, further: Mapping[str, Any] = MappingProxyType({})) -> Desk:
    """Return a desk with `admin` and `student`, and one flavor; its store is a file, or the database at `url`.

    `further` are sections of the file.
    """
    path = folder / "database.yaml"
    users = {
        name: {"username": name, "password_hash": PASSWORD_HASH, "quota_vms": quota, "used_vms": 0, "slices": []}
        for name, quota in (("admin", 10), ("student", 6))
    }
    path.write_text(yaml.safe_dump({"users": users, "flavors": {"cirros": FLAVOR}, **further}), encoding="utf-8")
    path.chmod(0o600)
    cloud = FakeHosts({address: ConsoleHost(address) for address in (*WORKERS, NETWORK)})
    if url:
        open_store(url).create(Database(path).load())
        path.unlink()
    api = OrchestratorAPI(open_store(url or path), cloud.connect)  # type: ignore[arg-type]
    assert api.discover_workers()[0]
    return Desk(api, url or path, cloud)


def deployed(desk: Desk, *manual: str) -> Slice:
    """Deploy a ring of three VMs, of which those named are started by hand."""
    slice_ = desk.ring(3)
    with desk.database.transaction() as state:
        for vm in state.slices[1000].vms:
            vm.start = VMStart.MANUAL if vm.name in manual else VMStart.AUTO
    desk.ok(desk.api.deploy_slice("student", slice_.slice_id))
    return desk.slice()

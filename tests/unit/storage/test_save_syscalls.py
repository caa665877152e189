"""The save of `database.yaml`, killed before each of its system calls, and with each of them failing."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import CloudError
from database import Database
from tests.support import syscalls
from tests.support.scale import scaled
from tests.unit.conftest import CLOUD

NAMES = {f"database.yaml{suffix}" for suffix in ("", ".lock", ".previous")}
OLDER, OLD, NEW = 1017, 1018, 1019
pytestmark = pytest.mark.torture


class DatabaseFolder:
    """A folder with a database that was saved once before; it can be restored any number of times."""

    def __init__(self, path: Path) -> None:
        self._pristine = path / "pristine"
        self._pristine.mkdir()
        self.path = path / "work" / "database.yaml"
        first = self._pristine / "database.yaml"
        first.write_text(CLOUD)
        assert Database(first).get_next_vm_id() == OLDER
        self.old = first.read_bytes()
        self.older = CLOUD.encode()

    def renew(self, *left: str) -> None:
        """Restore the folder; `left` are files that an earlier victim left behind."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
        shutil.copytree(self._pristine, self.path.parent)
        for suffix in left:
            (self.path.parent / f"database.yaml{suffix}").write_bytes(b"half of someth")

    def names(self) -> set[str]:
        return {entry.name for entry in self.path.parent.iterdir()}

    def save(self) -> str:
        """Run the victim; return its answer, or the sentence of its refusal."""
        try:
            return f"took {Database(self.path).get_next_vm_id()}"
        except CloudError as error:
            return f"Error: {error}"

    def check_goes_on(self, expected: int) -> None:
        """Check that another manager works as usual, and removes the remains."""
        assert Database(self.path).get_next_vm_id() == expected
        assert Database(self.path).load().next_vm_id == expected + 1
        assert self.names() == NAMES


@pytest.fixture
def folder(tmp_path: Path) -> DatabaseFolder:
    return DatabaseFolder(tmp_path)


@pytest.mark.parametrize("left", [(), (".new", ".previous.new")], ids=["clean", "after another victim"])
def test_killed_before_any_of_its_calls_it_leaves_the_old_or_the_new_version(
    folder: DatabaseFolder, left: tuple[str, ...]
) -> None:
    folder.renew(*left)
    whole = syscalls.killed(folder.save, None)
    assert whole.answer == f"took {OLD}"
    new = folder.path.read_bytes()
    found: list[bytes] = []
    for at in range(len(whole.numbers)):
        folder.renew(*left)
        assert len(syscalls.killed(folder.save, at).numbers) == at + 1
        content, previous = folder.path.read_bytes(), (folder.path.parent / "database.yaml.previous").read_bytes()
        found.append(content)
        assert content in {folder.old, new}
        assert previous in {folder.older, folder.old}
        assert folder.names() <= NAMES | {"database.yaml.new", "database.yaml.previous.new"}
        folder.check_goes_on(OLD if content == folder.old else NEW)
    assert {folder.old, new} == set(found)
    assert found == sorted(found, key=lambda content: content == new)


def test_killed_while_it_works_on_a_slice_it_leaves_no_claim(folder: DatabaseFolder) -> None:
    def work() -> str:
        with Database(folder.path).claim(1000):
            return folder.save()

    folder.renew()
    count = len(syscalls.killed(work, None).numbers)
    for at in range(0, count, scaled(5, 1)):
        folder.renew()
        syscalls.killed(work, at)
        database = Database(folder.path)
        assert not database.is_claimed(1000)
        with database.claim(1000):
            assert database.is_claimed(1000)
        assert folder.names() <= NAMES | {"database.yaml.new", "database.yaml.previous.new"}


CHANGES = {"write", "fsync", "link", "rename", "openat", "unlink", "fchmod", "fchown"}
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)


def from_then_on(place: int) -> Callable[[int, str], bool]:
    """Fail each changing call from that one on, as with a full or lost disk."""
    return lambda at, name: at >= place and name in CHANGES


def only_then(place: int) -> Callable[[int, str], bool]:
    return lambda at, _name: at == place


def faults(names: list[str]) -> Iterator[tuple[Callable[[int, str], bool], int]]:
    for place, name in enumerate(names):
        for number in ERRORS if scaled(bounded=False, whole=True) else (ERRORS[place % len(ERRORS)],):
            if name:
                yield only_then(place), number
                yield from_then_on(place), number


@pytest.mark.skipif(not syscalls.CAN_FAIL, reason="written for x86-64")
def test_whichever_call_fails_it_is_one_sentence_and_the_old_file(folder: DatabaseFolder) -> None:
    folder.renew()
    whole = syscalls.killed(folder.save, None)
    new = folder.path.read_bytes()
    refused = 0
    for fails, number in faults(whole.names):
        folder.renew()
        answer = syscalls.failing(folder.save, fails, number).answer
        content = folder.path.read_bytes()
        if answer == f"took {OLD}":  # a failed removal, or a failed change of the owner, is no failure of the save
            assert content == new
        else:
            refused += 1
            assert answer.startswith("Error: "), answer
            assert answer.isprintable()
            assert content == folder.old, answer
            assert (folder.path.parent / "database.yaml.previous").read_bytes() in {folder.older, folder.old}
        if fails.__qualname__.startswith("only_then"):
            assert folder.names() == NAMES
        folder.check_goes_on(NEW if content == new else OLD)
    assert refused > len(whole.names) // 2


@pytest.mark.skipif(not syscalls.CAN_FAIL, reason="the numbers of the calls are x86-64's")
def test_a_renamed_file_and_its_renaming_are_on_the_disk(folder: DatabaseFolder) -> None:
    folder.renew()
    names = syscalls.killed(folder.save, None).names
    order = [name for name in names if name in {"write", "fsync", "link", "rename"}]
    assert order == ["write", "fsync", "link", "rename", "rename", "fsync"]


@pytest.mark.skipif(not syscalls.CAN_FAIL, reason="written for x86-64")
@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EACCES])
def test_where_a_file_has_no_second_name_the_version_before_is_copied(folder: DatabaseFolder, error: int) -> None:
    folder.renew()
    assert syscalls.failing(folder.save, lambda _at, name: name == "link", error).answer == f"took {OLD}"
    previous = folder.path.with_name("database.yaml.previous")
    assert previous.read_bytes() == folder.old
    assert previous.stat().st_mode == folder.path.stat().st_mode
    folder.check_goes_on(NEW)

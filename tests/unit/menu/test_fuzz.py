"""Generated input at every prompt and in the file: each error is a sentence, never a traceback."""

from __future__ import annotations

import random
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from core.errors import CloudError
from database import Database
from menu import console
from tests.support import garbage
from tests.support.fake_api import furnished
from tests.support.playing import on_terminal, play_raw
from tests.support.scale import LONG, scaled
from tests.unit.conftest import CLOUD
from tests.unit.menu.test_prompts import assert_clean

SEED = random.SystemRandom().getrandbits(32) if LONG else 20
SHARDS = 5
pytestmark = pytest.mark.torture


def inputs(kind: str, shard: int, count: int) -> Iterator[tuple[str, random.Random]]:
    """Yield a name that reproduces an input, and the generator that makes it."""
    for number in range(shard * count, (shard + 1) * count):
        name = f"{kind} {SEED} {number}"
        yield name, random.Random(name)


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail if the body takes too long."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"still not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_menu_takes_whatever_is_typed(shard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "QUIET", 0.001)  # how long a guest is listened to when the input has ended
    for name, chance in inputs("session", shard, scaled(200, 10_000)):
        script = garbage.session(chance)
        cloud = furnished()
        cloud.left_over = [1000]
        try:
            with at_most(60):
                status, output = play_raw(cloud, script)
            said, visited, rest = output.partition(b"Connected to ")  # what a guest sends is passed on as it is
            assert b"Traceback" not in rest
            assert_clean(status, said.decode() + visited.decode() + rest.decode(errors="replace"))
        except BaseException as error:
            error.add_note(f"{name}: {script!r}")
            raise


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_loader_reads_or_refuses_whatever_is_in_the_file(shard: int, good: list[str]) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        path = Path(folder) / "database.yaml"
        for name, chance in inputs("file", shard, scaled(300, 10_000)):
            content = garbage.content(chance, good) if chance.random() < 0.7 else garbage.edited(CLOUD.encode(), chance)
            path.write_bytes(content)
            try:
                check(path)
            except BaseException as error:
                error.add_note(f"{name}: {content!r}")
                raise


def check(path: Path) -> None:
    """A file is read, saved and read again unchanged, or refused with its line and left unchanged."""
    before = path.read_bytes()
    Path(f"{path}.previous").unlink(missing_ok=True)
    begun = time.monotonic()
    try:
        state = Database(path).load()
        assert Database(path).get_next_vm_id() >= 1000
    except CloudError as refused:
        sentence = str(refused)
        assert sentence.isprintable()
        assert len(sentence) < 1000
        assert re.match(rf"{re.escape(str(path))}, line \d+: \S", sentence), sentence
        assert path.read_bytes() == before
    else:
        saved = Database(path).load().to_dict()
        state.note_in_use()
        assert saved == state.to_dict() | {"next_vm_id": saved["next_vm_id"]}
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("shard", range(2))
def test_a_terminal_takes_whatever_is_typed(shard: int) -> None:
    for name, chance in inputs("terminal", shard, scaled(3, 100)):
        typed = garbage.session(chance)[:3000].replace(b"\n", b"\r")
        for stops in b"\x1a\x1c\x13\x11":  # these are the terminal's own: suspend, quit, stop and start the output
            typed = typed.replace(bytes([stops]), b"")
        with on_terminal("--database", "/nonexistent/fuzz") as terminal:
            terminal.wait_for("Username: ")
            shown = terminal.play(typed, b"\x1d\r\r\x04")
            status = terminal.exit_status()
        assert status in {0, 1, 130}, (name, typed)
        assert "Traceback" not in shown, (name, typed)

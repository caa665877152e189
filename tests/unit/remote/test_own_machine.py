"""Programs on the manager's machine: their output, their limits, and a sentence for each way to fail."""

from __future__ import annotations

import sys
import time

import pytest

from core.errors import Refused
from remote import own_machine
from remote.own_machine import Bounds, output_of

MIB = 1 << 20
NARROW = Bounds(seconds=10, memory=256 * MIB, file=MIB)


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


def test_the_output_of_a_program_that_reads_a_text_is_returned() -> None:
    assert output_of(("cat",), "two\nlines\n", "coreutils") == "two\nlines\n"
    assert output_of(("cat",), "bounded", "coreutils", bounds=NARROW) == "bounded"


def test_a_program_that_is_missing_is_named_with_its_package() -> None:
    with pytest.raises(Refused, match=r"^no-such-program is not installed on this machine; run apt-get install some$"):
        output_of(("no-such-program",), "", "some", bounds=NARROW)


def test_a_status_counts_as_success_where_it_is_listed() -> None:
    argv = python("print('leaks'); raise SystemExit(3)")
    assert output_of(argv, "", "python3", ok=(0, 3)) == "leaks\n"
    with pytest.raises(Refused, match=r"failed with status 3: no output$"):
        output_of(argv, "", "python3")


def test_the_last_line_of_the_error_output_is_in_the_sentence() -> None:
    with pytest.raises(Refused, match=r"^sh failed with status 2: it is [^\x1b]*too long$"):
        output_of(("sh", "-c", r"printf 'first\nit is \033[1mtoo long\n' >&2; exit 2"), "", "dash")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("b'x' * (1 << 30)", "MemoryError"),
        ("open('big', 'wb').write(bytes(1 << 24))", "was ended by signal 25|File too large"),
    ],
    ids=["memory", "file"],
)
def test_a_program_keeps_within_its_limits(
    program: str, words: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    with pytest.raises(Refused, match=words):
        output_of(python(program), "", "python3", bounds=NARROW)


@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(60)"], ids=["busy", "asleep"])
def test_a_program_is_stopped_at_its_deadline(program: str) -> None:
    began = time.monotonic()
    with pytest.raises(Refused, match=r"did not end within 1 s|signal"):
        output_of(python(program), "", "python3", bounds=Bounds(1, 1 << 30, MIB))
    assert time.monotonic() - began < 20


THREADS = """
import threading
begun = threading.Barrier(64)
def work():
    kept = bytearray(100_000)
    begun.wait()
threads = [threading.Thread(target=work) for _ in range(64)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("all")
"""


def test_the_bound_of_memory_leaves_room_for_as_many_threads_as_a_busy_machine_makes() -> None:
    assert output_of((sys.executable, "-c", THREADS), "", "python3", bounds=Bounds(30, 1 << 30, 0)) == "all\n"


def test_a_program_without_bounds_has_a_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_machine, "SECONDS", 1)
    with pytest.raises(Refused, match=r"^sleep did not end within 1 s on this machine, and was stopped$"):
        output_of(("sleep", "60"), "", "coreutils")

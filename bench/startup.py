"""The start of the menu on a file of many slices: its duration, and its memory afterwards."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.samples import Facts, Sample
from tests.support.many import OWNERS, PASSWORD, write_file
from tests.support.paths import ROOT

DEADLINE_SECONDS = 60.0
MENU_PROMPT = b"Choose an option: "


SMALL, LARGE = [4], [10] * 100
"""VMs of each slice: a first week, and the maximum."""


def series(sizes: list[int]) -> str:
    """Return the name of the series of these samples."""
    return f"start with {sum(sizes)} VMs"


def measure(repeat: int, say: Callable[[str], None]) -> Iterator[Sample]:
    """Start the menu `repeat` times on a small and a large file, after one start that only fills the caches."""
    for sizes in (SMALL, LARGE):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            database = Path(folder) / "database.yaml"
            write_file(database, sizes)
            _start(database)
            for number in range(1, repeat + 1):
                say(f"{series(sizes)}, {number} of {repeat}")
                seconds, facts = _start(database)
                yield Sample(series(sizes), "ours", "menu", seconds, facts)
    yield Sample("imports", "ours", "menu", 0.0, {"slowest": imports()})


def imports(count: int = 8) -> list[tuple[str, float]]:
    """Return the slowest imports of the menu, each with its own imports, in seconds (-X importtime)."""
    argv = [sys.executable, "-X", "importtime", "-c", "import cli"]
    done = subprocess.run(argv, cwd=ROOT, env=usual_environment(), capture_output=True, text=True, check=True)
    return slowest_imports(done.stderr, count)


def slowest_imports(text: str, count: int) -> list[tuple[str, float]]:
    """Return the same from the output of `-X importtime`: own and cumulative microseconds, name by depth."""
    rows = re.findall(r"^import time: +\d+ \| +(\d+) \| +(\S+)$", text, re.MULTILINE)
    return sorted(((name, int(total) / 1e6) for total, name in rows), key=lambda row: -row[1])[:count]


def _start(database: Path) -> tuple[float, Facts]:
    """Start the menu on a file and log in."""
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(database)]
    return until_menu(argv, f"{OWNERS[0]}\n{PASSWORD}\n")


def until_menu(argv: list[str], typed: str = "") -> tuple[float, Facts]:
    """Start a session, type, and wait for the menu's prompt; return the seconds from the start, and memory in MB."""
    began = time.time()
    with at_menu(argv, typed) as (moment, facts):
        return moment - began, facts


@contextmanager
def at_menu(argv: list[str], typed: str = "") -> Iterator[tuple[float, Facts]]:
    """Start a session, type, and wait for the menu's prompt; yield the seconds since 1970 then, and memory in MB."""
    with subprocess.Popen(argv, env=usual_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin  # noqa: S101 - for the type checker: it is a pipe
            assert process.stdout  # noqa: S101 - as above
            process.stdin.write(typed.encode())
            process.stdin.flush()
            _wait_for_menu(process.stdout.fileno(), time.monotonic() + DEADLINE_SECONDS)
            moment, status = time.time(), Path(f"/proc/{process.pid}/status").read_text()
            yield moment, {"peak": megabytes(status, "VmHWM"), "rest": megabytes(status, "VmRSS")}
        finally:
            process.kill()


def usual_environment() -> dict[str, str]:
    """Return the environment with byte code kept, as it is for most users."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _wait_for_menu(descriptor: int, deadline: float) -> None:
    output = b""
    while MENU_PROMPT not in output:
        ready = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]
        piece = os.read(descriptor, 65_536) if ready else b""
        if not piece:
            raise TimeoutError(f"the menu did not come; its output: {output.decode(errors='replace')[-500:]}")
        output += piece


def megabytes(status: str, field: str) -> float:
    """Return `VmHWM`, the peak, or `VmRSS`, the present size, of /proc/<pid>/status (proc(5)), in MB."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    if match is None:
        raise ValueError(f"no {field} in /proc/<pid>/status")
    return int(match[1]) * 1024 / 1e6

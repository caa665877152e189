"""Run the lab tests again and again on a busy machine: `python -m tests.shake [TIMES]`.

A test that looks once at something that settles, or waits without a deadline of its own, fails here first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lab import Lab
from tests.support.paths import ROOT

TIMES = 5
BUSY_PER_CORE = 2
PYTEST = (sys.executable, "-m", "pytest", "-q", "-n", "4", "--dist", "loadfile", "--no-loadscope-reorder", "-m", "lab")

_SPIN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
"""A busy loop that ends with its parent, also after a kill."""


@contextmanager
def busy_machine() -> Iterator[None]:
    """Keep every core busy with processes that do nothing else."""
    count = BUSY_PER_CORE * (os.cpu_count() or 1)
    spinning = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
        for process in spinning:
            process.wait()


def run_lab_tests() -> int:
    """Return pytest's status. When this process is ended, pytest ends, too, and its labs are taken down."""
    with subprocess.Popen(PYTEST) as tests:
        try:
            return tests.wait()
        except BaseException:
            tests.send_signal(signal.SIGINT)
            tests.wait()
            for folder in (ROOT / ".lab").glob("*-gw*"):  # its processes end before they have done so
                Lab(folder.name).down()
            raise


def main() -> int:
    """Return 0 when all runs were green."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it, and so would pytest
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    with busy_machine():
        red = [number for number in range(1, times + 1) if run_lab_tests()]
    sys.stdout.write(f"{times - len(red)} of {times} runs were green{f', red: {red}' if red else ''}\n")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())

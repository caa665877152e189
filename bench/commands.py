"""Commands from their start to their end: `list` and `show` on a small file, `validate` of a large slice file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.samples import BenchError, Sample
from bench.startup import SMALL, usual_environment
from tests.support.many import OWNERS, write_file
from tests.support.paths import ROOT

SERIES = "commands"
VALIDATE = "validate of 1,000 VMs"
VMS = 1000
PAIRS = 20
"""Links of the file, as many as a slice may have."""


def commands(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the words of each measured command by its name; the files are in `folder`."""
    owner = ("--as", OWNERS[0])
    return {
        "list": ("list", *owner),
        "list --json": ("list", "--json", *owner),
        "show": ("show", "1000", *owner),
        "show --json": ("show", "1000", "--json", *owner),
        "names": ("names", *owner),
        VALIDATE: ("validate", str(folder / "large.slice.yaml"), *owner),
    }


def large_file() -> str:
    """Return a slice file of 1,000 VMs: pairs with a link, and VMs without."""
    vms = "".join(f"  v{number}: cirros\n" for number in range(VMS))
    links = "".join(f"- v{2 * number} - v{2 * number + 1}\n" for number in range(PAIRS))
    return f"slice: large\nvms:\n{vms}links:\n{links}"


def measure(rounds: int, say: Callable[[str], None]) -> Iterator[Sample]:
    """Run each command `rounds` times, after one run that only fills the caches."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        database = folder / "database.yaml"
        write_file(database, SMALL)
        (folder / "large.slice.yaml").write_text(large_file())
        for phase, words in commands(folder).items():
            say(f"{phase}, {rounds} rounds")
            _run(database, words)
            for _ in range(rounds):
                yield Sample(SERIES, "ours", phase, _run(database, words))


def _run(database: Path, words: tuple[str, ...]) -> float:
    """Run a command and return its seconds; raise `BenchError` where it fails."""
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(database), *words]
    began = time.monotonic()
    done = subprocess.run(argv, env=usual_environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took = time.monotonic() - began
    if done.returncode:
        raise BenchError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.decode()[-500:]}")
    return took

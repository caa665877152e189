"""One program of the machine: run it, and turn its failure into a LabError."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError

# The environment of programs that the lab starts; no variable of the caller reaches a host.
SYSTEM_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}


def run(argv: Sequence[str | Path], *, stdin: str = "", cwd: Path | None = None, check: bool = True) -> str:
    """Run a program to its end and return its standard output; raise LabError with its last words when it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, cwd=cwd, env=SYSTEM_ENVIRONMENT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"{words[0]} is not installed (lab/packages.txt lists what the lab needs)") from error
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip() or "nothing"
        raise LabError(f"{' '.join(words)}: exit {done.returncode}, said: {said[-800:]}")
    return done.stdout

"""Run a program on the manager's own machine, not on a host of the cloud, and return its output."""

from __future__ import annotations

import subprocess

from core.errors import Refused

SECONDS = 30


def output_of(argv: tuple[str, ...], text: str, package: str) -> str:
    """Return the output of a program that reads `text`; raise `Refused` with what to do.

    `package` is the Debian package that has the program.
    """
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=SECONDS)
    except FileNotFoundError as fault:
        raise Refused(f"{argv[0]} is not installed on this machine; run apt-get install {package}") from fault
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Refused(f"{argv[0]} did not run on this machine ({type(fault).__name__}); try again") from fault
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Refused(f"{argv[0]} failed with status {done.returncode}: {said[:200]}")
    return done.stdout

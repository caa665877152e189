"""Finds the packages that `make` installed beside the program, when another Python than theirs was started.

Imported for this effect, before anything that needs them: who types `python3 cli.py` is not to meet a traceback.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

PACKAGES = ("paramiko", "rich", "yaml")
OLDEST = (3, 11)


def complaint(version: tuple[int, ...], missing: list[str]) -> str:
    """Why the program cannot run with this Python; empty when it can."""
    if version < OLDEST:
        return f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {version[0]}.{version[1]}"
    if missing:
        return f"Python packages are missing ({', '.join(missing)}); run `make setup` once"
    return ""


def _look() -> None:
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    why = complaint(sys.version_info[:2], missing)
    own = Path(__file__).resolve().parents[1] / ".venv"
    if why and (own / "ready").exists() and Path(sys.prefix) != own:
        os.execv(own / "bin" / "python", [str(own / "bin" / "python"), *sys.orig_argv[1:]])  # noqa: S606
    if why:
        sys.stderr.write(f"Error: {why}\n")
        raise SystemExit(1)


_look()

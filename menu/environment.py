"""Restart the program with the packages that `make` installed, if this Python lacks them.

This module is imported before all others for that effect, so that `python3 cli.py` never ends in a traceback.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

PACKAGES = ("paramiko", "rich", "yaml")
OLDEST = (3, 11)


def complaint(version: tuple[int, ...], missing: list[str]) -> str:
    """Return why the program cannot run with this Python, or an empty string."""
    if version < OLDEST:
        return f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {version[0]}.{version[1]}"
    if missing:
        return f"Python packages are missing ({', '.join(missing)}); run `make setup` once"
    return ""


def _restart_if_needed() -> None:
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    why = complaint(sys.version_info[:2], missing)
    own = Path(__file__).resolve().parents[1] / ".venv"
    if why and (own / "ready").exists() and Path(sys.prefix) != own:
        os.execv(own / "bin" / "python", [str(own / "bin" / "python"), *sys.orig_argv[1:]])  # noqa: S606
    if why:
        sys.stderr.write(f"Error: {why}\n")
        raise SystemExit(1)


_restart_if_needed()

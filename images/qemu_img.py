"""Run qemu-img on the manager, always with a named format: it would else guess one from what a guest wrote.

An image is a file of unknown origin, so qemu-img gets little memory and time.
"""

from __future__ import annotations

import json
from pathlib import Path

from core.errors import Refused
from remote.own_machine import Bounds, output_of

PACKAGE = "qemu-utils"
_MEMORY = 1 << 30
_SECONDS = 60
_SLOWEST = 8 << 20
"""Minimum speed of reading and writing an image, in bytes a second."""

_WHOLE = (0, 3)
"""Statuses of `qemu-img check` for a whole image; 3: clusters without an owner, which is no damage."""

_FEW_BYTES = 1 << 20


def require_whole(path: Path, label: str) -> None:
    """Raise `Refused` unless a file is a whole qcow2 image that names no other file."""
    bounds = _bounds(path, _FEW_BYTES)
    said = json.loads(_run(label, ("info", "-f", "qcow2", "--output=json", str(path)), bounds))
    specific = said.get("format-specific", {}).get("data", {})
    if "backing-filename" in said or "data-file" in specific or said.get("encrypted"):
        raise Refused(f"{label} names another file as a part of it, or is encrypted; take an image in one piece")
    _run(label, ("check", "-q", "-f", "qcow2", str(path)), bounds, _WHOLE)


def convert_raw(source: Path, target: Path, label: str) -> None:
    """Make a qcow2 image of a raw one."""
    argv = ("convert", "-f", "raw", "-O", "qcow2", str(source), str(target))
    _run(label, argv, _bounds(source, 2 * source.stat().st_size + _FEW_BYTES))


def _run(label: str, words: tuple[str, ...], bounds: Bounds, ok: tuple[int, ...] = (0,)) -> str:
    try:
        return output_of(("qemu-img", *words), "", PACKAGE, ok=ok, bounds=bounds)
    except Refused as refusal:
        raise Refused(f"{label}: {refusal}") from refusal


def _bounds(path: Path, file: int) -> Bounds:
    return Bounds(_SECONDS + path.stat().st_size // _SLOWEST, _MEMORY, file)

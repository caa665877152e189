"""Measure a host: cores, memory, disk and clock. Discovery and the doctor ask by one script and read by one parser."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import BadAnswer, figure
from remote.plan import Command
from shell.scripts import load

RESOURCES = "resources"
"""The question about a host's size and clock."""

KIB_PER_GIB = 1 << 20

_MOST_KIB = 1 << 48
_RANGES = {
    "cores": ("cores", 1, 8192),
    "memory": ("KiB of memory", 1024, KIB_PER_GIB << 16),
    "available": ("KiB of free memory", 0, KIB_PER_GIB << 16),
    "disk": ("KiB of free disk", 0, _MOST_KIB),
    "overlays": ("KiB of disk for VMs", 0, _MOST_KIB),
    "clock": ("seconds of its clock", 0, 1 << 34),
}
"""The range of a true answer: 64 TiB of memory, 256 PiB of disk."""

_LONGEST = 1000
_MEASURE_HOST = load("collect/measure-host")


@dataclass(frozen=True)
class Resources:
    """The size of a host, in KiB, and its clock, in seconds since the epoch.

    `available` is memory; `disk` is free, and `overlays` is the disk that our overlays use.
    """

    cores: int
    memory: int
    available: int
    disk: int
    overlays: int
    clock: int


def measure(images: str) -> Command:
    """Measure, read-only, a host whose folder of images is `images`. A file system that hangs is given up after 5 s."""
    return Command(("timeout", "5", *_MEASURE_HOST.argv(images)), name=RESOURCES)


def parse_resources(text: str) -> Resources:
    """Return the answer to `measure`. Raise `BadAnswer` where it makes no sense."""
    words = dict(line.partition(" ")[::2] for line in text[:_LONGEST].splitlines())
    if words.keys() != _RANGES.keys():
        raise BadAnswer("its resources could not be measured")
    return Resources(**{name: figure(words[name], *what) for name, what in _RANGES.items()})

"""A trial boot of the guest image, without a network and without changing it."""

from __future__ import annotations

import os
import select
import subprocess
import time
from pathlib import Path
from typing import IO, cast

READY = b"guest ready"


def qemu(image: Path, accel: str) -> list[str]:
    """Return the QEMU command line, with the guest's serial console on standard output."""
    return [
        *("qemu-system-x86_64", "-accel", accel, "-m", "128", "-display", "none", "-nic", "none"),
        *("-monitor", "none", "-serial", "stdio"),
        *("-drive", f"file={str(image).replace(',', ',,')},format=qcow2,if=virtio,snapshot=on"),
    ]


def boots(image: Path, accel: str, seconds: float) -> bool:
    """Return whether the guest reports on its serial console, within that time, that it is ready."""
    deadline = time.monotonic() + seconds
    with subprocess.Popen(
        qemu(image, accel), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            return _reads(process, deadline)
        finally:
            process.kill()


def _reads(process: subprocess.Popen[bytes], deadline: float) -> bool:
    output = cast("IO[bytes]", process.stdout)
    received = b""
    while READY not in received:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([output], [], [], left)[0]:
            return False
        piece = os.read(output.fileno(), 65536)
        if not piece:
            return False
        received += piece
    return True

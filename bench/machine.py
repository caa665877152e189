"""The machine of a measurement: the facts that are needed to compare two reports."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path

_VERSIONS = {
    "QEMU": ("qemu-system-x86_64", "--version"),
    "Open vSwitch": ("ovs-vsctl", "--version"),
    "dnsmasq": ("dnsmasq", "--version"),
    "OpenSSH": ("ssh", "-V"),
    "libvirt": ("virsh", "--version"),
}
_NUMBER = re.compile(r"\d+(?:\.\d+)+\w*")


def describe(programs: Path) -> dict[str, str]:
    """Return processor, memory, system, and the versions of all programs that take part."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    release = re.search(r'^PRETTY_NAME="?([^"\n]+)', Path("/etc/os-release").read_text(), re.MULTILINE)
    versions = {name: version(argv) for name, argv in _VERSIONS.items()}
    versions["pyinfra"] = version((str(programs / "pyinfra"), "--version"))
    versions["Ansible"] = version((str(programs / "ansible"), "--version"))
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "processor": f"{os.cpu_count()} x {cpu[1] if cpu else platform.machine()}",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"{release[1] if release else platform.system()}, kernel {platform.release()}",
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f} when it began",
        "commit": _said(("git", "-C", str(Path(__file__).parents[1]), "rev-parse", "--short", "HEAD")).strip(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items() if number),
    }


def version(argv: tuple[str, ...]) -> str:
    """Return the first number with a point in a program's output; empty where the program is missing."""
    found = _NUMBER.search(_said(argv))
    return found[0] if found else ""


def _said(argv: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return ""
    return done.stdout + done.stderr

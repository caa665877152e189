"""The machine's own package sources: the mirror of Debian and the settings by which apt reaches it."""

from __future__ import annotations

import platform
from collections.abc import Callable

from lab.command import run
from lab.errors import LabError

# Fields of apt-get(8)'s indextargets: a line of sources.list(5) behind the codename of its suite.
FIELDS = "$(CODENAME)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
TARGETS = ("Created-By: Packages", "Origin: Debian")
# What apt is to fetch is for mmdebstrap to say; how it fetches is for the machine.
OTHER_SETTINGS = ("Acquire::IndexTargets", "Acquire::Changelogs")


def release() -> str:
    """Return the codename of this machine's Debian; raise LabError on another distribution."""
    system = platform.freedesktop_os_release()
    if system.get("ID") != "debian" or "VERSION_CODENAME" not in system:
        raise LabError(
            f"the Debian guest is built from the machine's own package sources, and this is "
            f"{system.get('PRETTY_NAME', 'another system')}: build it on Debian and copy the image"
        )
    return system["VERSION_CODENAME"]


def lines(codename: str) -> list[str]:
    """Return the machine's sources of this release, its updates and its security updates."""
    for attempt in ("known", "after an update"):
        found = of_release(codename, run(["apt-get", "indextargets", "--format", FIELDS, *TARGETS]))
        if found:
            return found
        if attempt == "known":
            run(["apt-get", "update", "--quiet"])
    raise LabError(f"apt has no source of Debian {codename}: add one to /etc/apt/sources.list.d")


def of_release(codename: str, targets: str) -> list[str]:
    """Return the lines of these suites among all that apt knows; those of other releases and backports are left out."""
    suites = (codename, f"{codename}-updates", f"{codename}-security")
    rows = (target.split("|", 1) for target in targets.splitlines() if "|" in target)
    return list(dict.fromkeys(line for suite, line in rows if suite in suites))


def settings(show: Callable[[], str] = lambda: run(["apt-config", "dump", "Acquire"])) -> str:
    """Return the machine's proxies, timeouts and checks as text of apt.conf(5)."""
    return "".join(f"{line}\n" for line in show().splitlines() if not line.startswith(OTHER_SETTINGS))

"""Write what ssh(1) needs to reach VMs: blocks of ssh_config(5), and lines of known hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from remote.plan import shell

if TYPE_CHECKING:
    from lifecycle.reach import WayIn

KNOWN_HOSTS = "~/.ssh/cloud_known_hosts"


def blocks(ways: Iterable[WayIn], manager: tuple[str, ...]) -> str:
    """Return a block for each way; `manager` are the words of the command that ends in `connect SLICE VM`.

    Names have letters, digits, hyphens and underscores only. Other words are quoted for the user's shell, which runs
    the command. ssh reads the line first: `%` begins a token there, and a backslash before a single quote hides it.
    So `%` is doubled, and a backslash stands in double quotes, where both read two as one.
    """
    return "\n".join("".join(f"{line}\n" for line in _block(way, manager)) for way in ways)


def _block(way: WayIn, manager: tuple[str, ...]) -> Iterable[str]:
    command = shell((*manager, "connect", way.slice_, way.vm)).replace("%", "%%").replace("\\", "'\"\\\\\"'")
    yield f"Host {way.host}"
    yield f"    User {way.user}"
    yield f"    HostKeyAlias {way.alias}"
    yield f"    UserKnownHostsFile {KNOWN_HOSTS}"
    yield f"    ProxyCommand {command}"


def known_hosts(ways: Iterable[WayIn]) -> str:
    """Return a line for each host key that is known: the key of the disk under its alias."""
    return "".join(f"{way.alias} {way.host_key}\n" for way in ways if way.host_key)

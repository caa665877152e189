"""The formats of the texts in `database.yaml`: names, addresses, paths, digests. Each is a rule with its words."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable

from core import names, passwords, ssh_keys
from core.rule import Broken, Rule, text, whole

MAX_IMAGES_DIR = 54
"""Characters of `images_dir`: the path of a console socket under it ends at 107 (unix(7))."""

MAX_NAME_LENGTH = 32
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME_LENGTH}}}")


_SNAPSHOT_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")

MOST_MIB = 1 << 40
"""The largest size of disks in MiB that a host can have."""


def is_snapshot_name(name: str) -> bool:
    """Return whether a snapshot can have this name."""
    return _SNAPSHOT_NAME.fullmatch(name) is not None


def is_valid_name(name: str) -> bool:
    """Return whether a VM, a slice or a user can have this name: letters, digits, hyphen, underscore, at most 32."""
    return _NAME.fullmatch(name) is not None


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: str) -> float:
    """Return a duration such as 90s, 30m or 2h in seconds; `ValueError` for another text."""
    number, unit = duration[:-1], duration[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit() and len(number) <= 6):
        raise ValueError(f"{duration!r} is no duration")
    return int(number) * _UNITS[unit]


@functools.lru_cache(256)
def network_of(cidr: str) -> ipaddress.IPv4Network:
    """Return `cidr` as a network; cached, because parsing takes longer than any question to the network."""
    return ipaddress.IPv4Network(cidr)


def one_line(longest: int) -> Rule:
    """Return the rule of a text on one line, of at most `longest` characters."""
    accepts = _matches(rf"[^{_CONTROL}{_SURROGATES}]{{1,{longest}}}")
    return text(accepts, f"a text on one line, of 1 to {longest} characters")


def _matches(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


def is_address(value: str) -> bool:
    """Return whether the text is an IPv4 address."""
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return False
    return True


# Of this host, link-local, multicast and reserved addresses (RFC 6890): no guest could have one.
_NO_SUBNETS = [network_of(cidr) for cidr in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")]


def _is_subnet(value: str) -> bool:
    """Return whether the text is a subnet without bits of a host. A /24 or larger has room for .2 and .10 to .250."""
    return _has_prefix(value, 8, 24) and not any(network_of(value).overlaps(other) for other in _NO_SUBNETS)


def _is_link_subnet(value: str) -> bool:
    return _has_prefix(value, 8, 30) and not any(network_of(value).overlaps(other) for other in _NO_SUBNETS)


def _has_prefix(value: str, shortest: int, longest: int) -> bool:
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError:
        return False
    return str(network) == value and shortest <= network.prefixlen <= longest


def _is_host(value: str) -> bool:
    if value.replace(".", "").isdecimal():
        return is_address(value)
    return len(value) <= 253 and _HOST(value) is not None


def is_manager(value: str) -> bool:
    """Return whether the text names the manager as ssh(1) does: a host, or a login name and a host."""
    login, at, host = value.rpartition("@")
    return _is_host(host) and (not at or _LOGIN(login) is not None)


def _is_remote_path(value: str) -> bool:
    return _REMOTE_PATH(value) is not None and ".." not in value.split("/")


def _is_idle_time(value: str) -> bool:
    try:
        return 60 <= seconds_of(value) <= 24 * 3600
    except ValueError:
        return False


def _is_folder(value: str) -> bool:
    """Return whether the text is a folder on a worker. Programs there would read a part with `-` first as an option."""
    return _is_remote_path(value) and not any(part == "." or part.startswith("-") for part in value.split("/"))


_CONTROL = r"\x00-\x1f\x7f"
_SURROGATES = r"\ud800-\udfff"  # what a terminal or a program says in something else than UTF-8; no file can hold it
_HOST = _matches(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_LOGIN = _matches(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}")
_REMOTE_PATH = _matches(r"(~/|/)[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?")

NAME = text(is_valid_name, "1 to 32 letters, digits, hyphens or underscores")
IMPORT_KIND = text(_matches(r"[!-~]{1,100}"), "1 to 100 printable characters without spaces")
SNAPSHOT_NAME = text(is_snapshot_name, "a small letter, then at most 31 small letters, digits and hyphens")
FLAVOR_NAME = text(_matches(r"[A-Za-z0-9._-]{1,32}"), "1 to 32 letters, digits, dots, hyphens or underscores")
LINK_NAME = text(
    _matches(r"[A-Za-z][A-Za-z0-9_.-]{0,63}"), "a letter, then letters, digits, dots, hyphens, underscores"
)
HOST = text(_is_host, "an IPv4 address or a host name of letters, digits, dots and hyphens")
MANAGER = text(
    is_manager,
    "a host name or an IPv4 address, with or without a login name and @ before it, such as cloud@manager",
)
LOGIN = text(_LOGIN, "a login name")
ADDRESS = text(is_address, "an IPv4 address")
SUBNET = text(_is_subnet, "an IPv4 subnet from /8 to /24, such as 10.60.7.0/24")
LINK_SUBNET = text(_is_link_subnet, "an IPv4 subnet from /8 to /30, such as 192.168.100.0/24")
DESTINATION = text(lambda value: _has_prefix(value, 8, 32), "an IPv4 network from /8 to /32, such as 10.20.0.0/16")
LOCAL_PATH = text(_matches(rf"[^{_CONTROL}{_SURROGATES}]{{1,4096}}"), "the path of a file")
LOCAL_FOLDER = text(
    _matches(rf"(~/|/)[^{_CONTROL}{_SURROGATES}]{{0,4094}}"), "the path of a folder that begins with / or ~/"
)
REMOTE_PATH = text(_is_remote_path, "a path that begins with / or ~/, of letters, digits and . _ - / and without ..")
IMAGES_DIR = text(
    lambda value: len(value) <= MAX_IMAGES_DIR and _is_folder(value),
    f"a path that begins with / or ~/, of at most {MAX_IMAGES_DIR} letters, digits and . _ - /, no part of it . or .. "
    "or beginning with -",
)
_INTERFACE = r"[A-Za-z0-9_][A-Za-z0-9._-]"  # a word that begins with - would be an option of the program that reads it
_NOT_OURS = "(?!(lo|br-int)$|gw_vlan|dhcp_v|tap_)"  # names of guests' devices, and those that lead nowhere
UPLINK = text(_matches(rf"{_NOT_OURS}{_INTERFACE}{{0,14}}"), "the name of a network interface, at most 15 characters")
DATA_PORT = text(_matches(rf"{_NOT_OURS}{_INTERFACE}{{0,31}}"), "the name of a port of br-int, at most 32 characters")
BRIDGE = text(
    _matches(rf"{names.BRIDGE}(-[a-z0-9]{{1,{names.LONGEST_REALM}}})?"),
    f"{names.BRIDGE}, or {names.BRIDGE}- and 1 to {names.LONGEST_REALM} small letters and digits",
)
REALM = text(
    _matches(rf"(?!{names.MAIN}$)[a-z][a-z0-9]{{0,{names.LONGEST_REALM - 1}}}"),
    f"a small letter, then at most {names.LONGEST_REALM - 1} small letters and digits, and not {names.MAIN}",
)
MAC = text(_matches(r"52:54:00(:[0-9a-fA-F]{2}){3}"), "a MAC address 52:54:00:XX:XX:XX, in quotes")
PROCESS_ID = text(_matches(r"[1-9][0-9]{0,9}"), "a process id, in quotes")
DISK_ID = text(_matches(names.DISK_ID), "16 hexadecimal digits, in quotes")
DIGEST = text(passwords.is_digest, "64 hexadecimal digits (SHA-256) or a scrypt digest", secret=True)
VNC_SECRET = text(_matches(r"[!-~]{1,64}"), "a text without blanks", secret=True)
GUEST_PASSWORD = text(_matches(r"[A-Za-z0-9]{8,64}"), "8 to 64 letters and digits", secret=True)
SSH_SECRET = text(ssh_keys.is_secret, "the 32 secret bytes of an ed25519 key, in base64", secret=True)
PUBLIC_KEY = text(
    ssh_keys.is_public_key, "a public key on one line: its type, its data, and a comment of plain letters"
)
WORDS = one_line(200)
NIC_NAMES = text(
    _matches(r"[A-Za-z0-9 ./_-]{0,24}\{n(\+1)?\}[A-Za-z0-9 ./_-]{0,8}"),
    "a name with {n} or {n+1} for the number of the interface, such as ether{n+1}",
)
PATTERN = text(
    _matches(rf"[^{_CONTROL}{_SURROGATES}]{{1,200}}"), "an extended regular expression of 1 to 200 characters"
)
GUEST_USER = text(_matches(r"(?!root$)[a-z_][a-z0-9_-]{0,31}"), "a login name of small letters and digits, not root")
PROFILE_NAME = text(
    _matches(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"), "a letter or digit, then letters, digits, dots, hyphens, underscores"
)
REMARK = text(_matches(rf"[^{_SURROGATES}]*"), "a text")
INTERFACE_NAME = text(_matches(r"eth([0-9]|10)"), "eth0 to eth10")
CONSOLE_EXIT = text(
    _matches(r"ctrl-[a-hk-ln-z\\\]^_]|[~%&@#!+=^]\."),
    "ctrl- and one of a-z \\ ] ^ _ but i, j and m, or one of ~ % & @ # ! + = ^ and a dot, such as ctrl-] or ~.",
)
LEASES = text(
    lambda value: len(value.split(",")) == 2 and all(map(is_address, value.split(","))),
    "two IPv4 addresses with a comma between",
)

IDLE = text(_is_idle_time, "a time from 1m to 24h, such as 30m")

VLAN = whole(1, 4094)
ID = whole(names.FIRST_ID, names.LAST_ID)
SLICE_ID = whole(names.FIRST_ID, names.LAST_SLICE_ID)
LINK_ID = whole(1, 1_000_000)


def _check_ssh_user(value: object) -> None:
    LOGIN(value)
    if value == "root":
        raise Broken(
            "must not be root, because QEMU runs as this user; name one that may use sudo (docs/install-hosts.md)"
        )


SSH_USER = Rule(_check_ssh_user, "a login name other than root, because QEMU runs as this user")

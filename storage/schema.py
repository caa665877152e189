"""What a record of `database.yaml` may say: one table per kind of record.

A check takes a value as YAML gives it and raises `Broken` where the value is not what the table asks for. Keys that are
not in the table are refused: a misspelt one would be ignored when read, and lost when written.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import models
from core import names, passwords
from core.inventory import network_of, seconds_of
from core.status import NetworkStatus, SliceStatus, VMStatus
from models import MAX_QUOTA, Record, Slice, is_valid_name

Key = str | int
Check = Callable[[Any], None]

MAX_IMAGES_DIR = 54
"""Characters of `images_dir`: the path of a console socket under it ends at 107 (unix(7))."""

MAX_SESSIONS = 100
"""How many sessions of an account a file may allow."""

MAX_ALLOWED = 32
"""Entries of `internet: allow`: each packet of a guest is compared with all of them."""

_PLAIN_KEY = re.compile(r"[\w.-]{1,64}")


@dataclass(frozen=True)
class Unclear:
    """A number in a form that YAML 1.1 reads otherwise than people do: 010 is 8, 1:30 is 90, 1_0 is 10."""

    value: object
    text: str


class Broken(Exception):
    """A rule that the database does not keep. `path` leads to the value, `key` names an entry without a place there."""

    def __init__(self, reason: str, *path: Key, key: Key | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.key = key

    def __str__(self) -> str:
        where = ".".join(str(part) if _PLAIN_KEY.fullmatch(str(part)) else show(part) for part in self.path)
        return f"{where}: {self.reason}" if where else self.reason


def show(value: object) -> str:
    """A value as a sentence names it: on one line, and not longer than a line."""
    if isinstance(value, str):
        return f'"{repr(value[:40])[1:-1]}{"..." if len(value) > 40 else ""}"'
    if isinstance(value, Unclear):
        return show(value.value)
    if isinstance(value, int | float):
        return repr(value).lower()  # true and false as YAML has them
    names: dict[type, str] = {type(None): "nothing", dict: "a mapping", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


# --- What a table is made of ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """A check of one value, and the words for what it accepts, which refusals and docs/reference/database.md show.

    `required` and `optional` are the keys of a record; `inside` is the rule of each entry of a list or mapping.
    """

    check: Check
    words: str
    required: Mapping[str, Rule] = field(default_factory=dict)
    optional: Mapping[str, Rule] = field(default_factory=dict)
    inside: Rule | None = None

    def __call__(self, value: object) -> None:
        """Raise `Broken` where the value is not accepted."""
        self.check(value)


Fields = dict[str, Rule]


def _amount(value: object) -> str:
    """Return how a sentence names a value that should be a number."""
    return f"{value.text}, which YAML reads as {show(value)}" if isinstance(value, Unclear) else show(value)


def whole(low: int, high: int) -> Rule:
    """Return the rule of a whole number. YAML's true and false are none, though Python counts them among them."""
    words = f"a whole number from {low} to {high}"

    def check(value: object) -> None:
        if type(value) is not int or not low <= value <= high:
            raise Broken(f"must be {words}, not {_amount(value)}")

    return Rule(check, words)


def number(low: float, high: float) -> Rule:
    """Return the rule of a number; "not a number" is none."""
    words = f"a number from {low} to {high}"

    def check(value: object) -> None:
        if type(value) not in {int, float} or not low <= value <= high:  # type: ignore[operator]
            raise Broken(f"must be {words}, not {_amount(value)}")

    return Rule(check, words)


def text(accepts: Callable[[str], object], words: str, *, secret: bool = False) -> Rule:
    """Return the rule of a text that `accepts` says yes to; a `secret` one is not repeated in the refusal."""

    def check(value: object) -> None:
        if not isinstance(value, str) or not accepts(value):
            raise Broken(f"must be {words}" + ("" if secret else f", not {show(value)}"))

    return Rule(check, words)


def one_of(*options: str) -> Rule:
    """Return the rule of one of a few words."""
    return text(options.__contains__, "one of " + ", ".join(options))


def _check_flag(value: object) -> None:
    if not isinstance(value, bool):
        raise Broken(f"must be true or false, not {show(value)}")


FLAG = Rule(_check_flag, "true or false")


def or_nothing(rule: Rule) -> Rule:
    """Return the rule of what `rule` accepts, or null."""
    check = rule.check
    return replace(rule, check=lambda value: None if value is None else check(value), words=f"{rule.words}; or nothing")


def list_of(item: Rule, most: int | None = None) -> Rule:
    """Return the rule of a list of what `item` accepts, with at most so many entries."""
    inner = item.check

    def check(value: object) -> None:
        if not isinstance(value, list):
            raise Broken(f"must be a list, not {show(value)}")
        if most is not None and len(value) > most:
            raise Broken(f"must have at most {most} entries, not {len(value)}")
        for index, element in enumerate(value):
            _inside(index, inner, element)

    return Rule(check, "a list" if most is None else f"a list of at most {most} entries", inside=item)


def some_of(item: Rule, low: int, high: int) -> Rule:
    """Return the rule of a list of `low` to `high` of what `item` accepts."""
    each = list_of(item)

    def check(value: object) -> None:
        each(value)
        if isinstance(value, list) and not low <= len(value) <= high:
            raise Broken(f"must have {low} to {high} entries, not {len(value)}")

    return Rule(check, f"a list of {low} to {high} entries", inside=item)


def mapping_of(key: Rule, item: Rule) -> Rule:
    """Return the rule of a mapping with any number of entries: keys that `key` accepts, values that `item` accepts."""
    check_key, check_item = key.check, item.check

    def check(value: object) -> None:
        for name, element in _mapping(value).items():
            _inside(name, check_key, name)
            _inside(name, check_item, element)

    return Rule(check, f"a mapping; each key is {key.words}", inside=item)


def record(required: Fields, optional: Fields | None = None) -> Rule:
    """Return the rule of a mapping with these keys and no others."""
    optional = optional or {}
    checks = {key: rule.check for key, rule in (required | optional).items()}

    def check(value: object) -> None:
        entries = _mapping(value)
        for key, element in entries.items():
            if key not in checks:
                raise Broken(f"unknown key {show(key)}; known here: {', '.join(checks)}", key=key)
            _inside(key, checks[key], element)
        for key in required:
            if key not in entries:
                raise Broken(f"the key {key} is missing")

    return Rule(check, "a mapping", required, optional)


def _mapping(value: object) -> Record:
    if not isinstance(value, dict):
        raise Broken(f"must be a mapping, not {show(value)}")
    return value


def _inside(key: Key, check: Check, value: object) -> None:
    try:
        check(value)
    except Broken as fault:
        fault.path = (key, *fault.path)
        raise


def equal(what: str, wanted: object, found: object, *path: Key) -> None:
    """`Broken` where `found` is not `wanted`."""
    if found != wanted:
        raise Broken(f"must be {what} {show(wanted)}, not {show(found)}", *path)


def no_twice(kind: str, things: Iterable[Key], *path: Key) -> None:
    """`Broken` where one of the things is there twice."""
    for thing, count in Counter(things).items():
        if count > 1:
            raise Broken(f"{kind} {thing} is there {count} times", *path)


# --- The texts --------------------------------------------------------------------------------------------------------


def _matches(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


def _is_ipv4(value: str) -> bool:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return False
    return True


# Of this host, link-local, multicast and reserved addresses (RFC 6890): no guest could have one.
_NO_SUBNETS = [network_of(cidr) for cidr in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")]


def _is_subnet(value: str) -> bool:
    """With its prefix and without bits of a host; not smaller than a /24, so that .2 and .10 to .250 are in it."""
    return _has_prefix(value, 8, 24) and not any(network_of(value).overlaps(other) for other in _NO_SUBNETS)


def _has_prefix(value: str, shortest: int, longest: int) -> bool:
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError:
        return False
    return str(network) == value and shortest <= network.prefixlen <= longest


def _is_host(value: str) -> bool:
    if value.replace(".", "").isdecimal():
        return _is_ipv4(value)
    return len(value) <= 253 and _HOST(value) is not None


def _is_remote_path(value: str) -> bool:
    return _REMOTE_PATH(value) is not None and ".." not in value.split("/")


def _is_idle_time(value: str) -> bool:
    try:
        return 60 <= seconds_of(value) <= 24 * 3600
    except ValueError:
        return False


def _is_folder(value: str) -> bool:
    """Programs on the workers are given it as it is: a part that begins with `-` would be an option to some."""
    return _is_remote_path(value) and not any(part == "." or part.startswith("-") for part in value.split("/"))


_CONTROL = r"\x00-\x1f\x7f"
_SURROGATES = r"\ud800-\udfff"  # what a terminal or a program says in something else than UTF-8; no file can hold it
_HOST = _matches(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_REMOTE_PATH = _matches(r"(~/|/)[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?")

NAME = text(is_valid_name, "1 to 32 letters, digits, hyphens or underscores")
FLAVOR_NAME = text(_matches(r"[A-Za-z0-9._-]{1,32}"), "1 to 32 letters, digits, dots, hyphens or underscores")
HOST = text(_is_host, "an IPv4 address or a host name of letters, digits, dots and hyphens")
LOGIN = text(_matches(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}"), "a login name")
ADDRESS = text(_is_ipv4, "an IPv4 address")
SUBNET = text(_is_subnet, "an IPv4 subnet from /8 to /24, such as 10.60.7.0/24")
DESTINATION = text(lambda value: _has_prefix(value, 8, 32), "an IPv4 network from /8 to /32, such as 10.20.0.0/16")
LOCAL_PATH = text(_matches(rf"[^{_CONTROL}{_SURROGATES}]{{1,4096}}"), "the path of a file")
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
MAC = text(_matches(r"52:54:00(:[0-9a-fA-F]{2}){3}"), "a MAC address 52:54:00:XX:XX:XX, in quotes")
PROCESS_ID = text(_matches(r"[1-9][0-9]{0,9}"), "a process id, in quotes")
DISK_ID = text(_matches(names.DISK_ID), "16 hexadecimal digits, in quotes")
DIGEST = text(passwords.is_digest, "64 hexadecimal digits (SHA-256) or a scrypt digest", secret=True)
VNC_SECRET = text(_matches(r"[!-~]{1,64}"), "a text without blanks", secret=True)
WORDS = text(_matches(rf"[^{_CONTROL}{_SURROGATES}]{{1,200}}"), "a text on one line, of 1 to 200 characters")
REMARK = text(_matches(rf"[^{_SURROGATES}]*"), "a text")
INTERFACE_NAME = text(_matches(r"eth([0-9]|10)"), "eth0 to eth10")
CONSOLE_EXIT = text(
    _matches(r"ctrl-[a-hk-ln-z\\\]^_]|[~%&@#!+=^]\."),
    "ctrl- and one of a-z \\ ] ^ _ but i, j and m, or one of ~ % & @ # ! + = ^ and a dot, such as ctrl-] or ~.",
)
LEASES = text(
    lambda value: len(value.split(",")) == 2 and all(map(_is_ipv4, value.split(","))),
    "two IPv4 addresses with a comma between",
)

IDLE = text(_is_idle_time, "a time from 1m to 24h, such as 30m")

ID = whole(models.FIRST_ID, models.LAST_ID)
VLAN = whole(1, 4094)
LINK_ID = whole(1, 1_000_000)
AMOUNT = number(0, 1_000_000_000)


def _check_ssh_user(value: object) -> None:
    LOGIN(value)
    if value == "root":
        raise Broken(
            "must not be root, because QEMU runs as this user; name one that may use sudo (docs/install-hosts.md)"
        )


SSH_USER = Rule(_check_ssh_user, "a login name other than root, because QEMU runs as this user")


# --- The records (docs/spec/models.md, docs/reference/database.md) ----------------------------------------------------

SSH = record(
    {},
    {
        "user": SSH_USER,
        "port": whole(1, 65_535),
        "key_file": LOCAL_PATH,
        "known_hosts": LOCAL_PATH,
        "host_keys": one_of("accept-new", "strict"),
        "timeouts": record({}, {"connect": number(1, 120), "silence": number(2, 600), "change": number(10, 3600)}),
    },
)
HYPERVISOR = record(
    {},
    {
        "accel": one_of("auto", "kvm", "tcg"),
        "images_dir": IMAGES_DIR,
        "cpu_overcommit": number(0.1, 1000),
        "spread": whole(0, 10_000),
    },
)
INTERNET = record(
    {},
    {
        "vlan_id": VLAN,
        "cidr": SUBNET,
        "gateway": ADDRESS,
        "uplink": UPLINK,
        "dns": ADDRESS,
        "allow": list_of(DESTINATION, MAX_ALLOWED),
    },
)
SIZE: Fields = {"cores": whole(1, 64), "ram_gb": number(0.0625, 1024), "disk_gb": number(0.001, 16_384)}
WORKER = record(
    {},
    {
        "max_cores": whole(0, 1_000_000),
        "max_ram_gb": AMOUNT,
        "max_disk_gb": AMOUNT,
        "used_cores": whole(0, 1_000_000),
        "used_ram_gb": AMOUNT,
        "used_disk_gb": AMOUNT,
        "up": FLAG,
        "problem": REMARK,
        "forgotten": FLAG,
        "measured": number(0, 1_000_000_000_000),
    },
)
USER = record(
    {"username": NAME, "password_hash": DIGEST},
    {
        "quota_vms": whole(0, MAX_QUOTA),
        "used_vms": whole(0, 1_000_000),
        "slices": list_of(ID),
        "role": one_of(models.STUDENT, models.ADMIN),
        "quota_slices": whole(0, models.MAX_SLICES),
    },
)
INTERFACE = record(
    {"name": INTERFACE_NAME},
    {
        "vlan_id": or_nothing(VLAN),
        "mac": or_nothing(MAC),
        "ip_config": or_nothing(record({"ip": ADDRESS, "cidr": SUBNET, "gateway": ADDRESS})),
        "link_id": or_nothing(LINK_ID),
    },
)
VIRTUAL_MACHINE = record(
    {
        "vm_id": ID,
        "name": NAME,
        "owner": NAME,
        "worker_ip": HOST,
        "vnc_port": whole(models.FIRST_VNC_PORT, models.LAST_VNC_PORT),
        "interfaces": list_of(INTERFACE),
    },
    {
        "status": one_of(*map(str, VMStatus)),
        "pid": or_nothing(PROCESS_ID),
        "qcow_image": or_nothing(REMOTE_PATH),
        "flavor": or_nothing(record({}, SIZE | {"image": LOCAL_PATH})),
        "flavor_name": FLAVOR_NAME,
        "disk_id": DISK_ID,
        "vnc_secret": VNC_SECRET,
        "lost_with": HOST,
    },
)
LINK = record(
    {
        "link_id": LINK_ID,
        "vlan_id": VLAN,
        "vm1_id": ID,
        "vm1_interface": INTERFACE_NAME,
        "vm2_id": ID,
        "vm2_interface": INTERFACE_NAME,
    }
)
NETWORK = record(
    {"vlan_id": VLAN, "cidr": SUBNET, "gateway_ip": ADDRESS},
    {"dhcp_enabled": FLAG, "dhcp_range": or_nothing(LEASES), "status": one_of(*map(str, NetworkStatus))},
)
SLICE = record(
    {"slice_id": ID, "owner": NAME},
    {
        "topology_type": WORDS,
        "vlan_pool_start": VLAN,
        "vlan_pool_end": VLAN,
        "vlan_pool_used": list_of(VLAN),
        "status": one_of(*map(str, SliceStatus)),
        "vms": list_of(VIRTUAL_MACHINE),
        "links": list_of(LINK),
        "networks": list_of(NETWORK),
        "name": NAME,
        "left": list_of(REMARK),
    },
)
IN_USE = record(
    {},
    {
        "network_node": ADDRESS,
        "ssh_user": SSH_USER,
        "images_dir": IMAGES_DIR,
        "vlan_id": VLAN,
        "cidr": SUBNET,
        "gateway": ADDRESS,
        "uplink": UPLINK,
    },
)
LOGIN_SETTINGS = record(
    {},
    {
        "shipped_passwords": one_of("change", "keep"),
        "slices": whole(0, models.MAX_SLICES),
        "sessions": whole(1, MAX_SESSIONS),
        "idle": IDLE,
    },
)
CONSOLE_SETTINGS = record({}, {"exits": some_of(CONSOLE_EXIT, 1, 4)})
DATABASE = record(
    {"users": mapping_of(NAME, USER)},
    {
        "workers_list": list_of(ADDRESS),
        "network_node": ADDRESS,
        "ssh": SSH,
        "hypervisor": HYPERVISOR,
        "internet": INTERNET,
        "login": LOGIN_SETTINGS,
        "console": CONSOLE_SETTINGS,
        "data_ports": mapping_of(ADDRESS, DATA_PORT),
        "in_use": IN_USE,
        "flavors": mapping_of(FLAVOR_NAME, record(SIZE | {"image": LOCAL_PATH})),
        "workers": mapping_of(HOST, WORKER),
        "slices": mapping_of(text(str.isdecimal, "a slice id"), SLICE),
        "next_vm_id": whole(models.FIRST_ID, models.LAST_ID + 1),
        "next_vlan_id": whole(1, 1_000_000),
    },
)


def check(database: object) -> None:
    """Every record has the shape of its table, and says the same as its key and its id; else `Broken`."""
    DATABASE(database)
    entries = _mapping(database)
    no_twice("host", entries.get("workers_list", ()), "workers_list")
    for name, user in entries["users"].items():
        equal("the key", name, user["username"], "users", name, "username")
    for key, slice_ in entries.get("slices", {}).items():
        equal("the key", key, str(slice_["slice_id"]), "slices", key, "slice_id")
        derived = Slice(slice_["slice_id"], "")
        for bound in ("vlan_pool_start", "vlan_pool_end"):
            wanted = getattr(derived, bound)
            equal("what follows from the slice's id,", wanted, slice_.get(bound, wanted), "slices", key, bound)

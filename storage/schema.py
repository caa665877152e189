"""The rules of the sections of `database.yaml`. The rules of users and slices follow from the classes of `models`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from core.formats import (
    ADDRESS,
    CONSOLE_EXIT,
    DATA_PORT,
    DESTINATION,
    FLAVOR_NAME,
    HOST,
    IDLE,
    IMAGES_DIR,
    IMPORT_KIND,
    LOCAL_PATH,
    NAME,
    REMARK,
    SSH_USER,
    SUBNET,
    UPLINK,
    VLAN,
)
from core.rule import (
    FLAG,
    Broken,
    Key,
    list_of,
    mapping,
    mapping_of,
    number,
    one_of,
    record,
    show,
    some_of,
    text,
    whole,
)
from models import FIRST_ID, LAST_ID, MAX_SLICES, Flavor, Slice, User

MAX_SESSIONS = 100
"""The highest number of sessions that a file can allow for an account."""

MAX_ALLOWED = 32
"""Entries of `internet: allow`: each packet of a guest is compared with all of them."""

AMOUNT = number(0, 1_000_000_000)


def equal(what: str, wanted: object, found: object, *path: Key) -> None:
    """Raise `Broken` where `found` is not `wanted`."""
    if found != wanted:
        raise Broken(f"must be {what} {show(wanted)}, not {show(found)}", *path)


def no_twice(kind: str, things: Iterable[Key], *path: Key) -> None:
    """Raise `Broken` where one of the things is there twice."""
    for thing, count in Counter(things).items():
        if count > 1:
            raise Broken(f"{kind} {thing} is there {count} times", *path)


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
        "slices": whole(0, MAX_SLICES),
        "sessions": whole(1, MAX_SESSIONS),
        "idle": IDLE,
    },
)
CONSOLE_SETTINGS = record({}, {"exits": some_of(CONSOLE_EXIT, 1, 4)})
DATABASE = record(
    {"users": mapping_of(NAME, User.rule())},
    {
        "workers_list": list_of(ADDRESS),
        "network_node": ADDRESS,
        "ssh": SSH,
        "hypervisor": HYPERVISOR,
        "internet": INTERNET,
        "login": LOGIN_SETTINGS,
        "console": CONSOLE_SETTINGS,
        "data_ports": mapping_of(ADDRESS, DATA_PORT),
        "import": record({}, {"default": FLAVOR_NAME, "kinds": mapping_of(IMPORT_KIND, FLAVOR_NAME)}),
        "in_use": IN_USE,
        "flavors": mapping_of(FLAVOR_NAME, record({name: each.rule for name, each in Flavor.KEYS.items()})),
        "workers": mapping_of(HOST, WORKER),
        "slices": mapping_of(text(str.isdecimal, "a slice id"), Slice.rule()),
        "next_vm_id": whole(FIRST_ID, LAST_ID + 1),
        "next_vlan_id": whole(1, 1_000_000),
    },
)


def check(database: object) -> None:
    """Raise `Broken` where a record does not keep its rule, or contradicts its key or its id."""
    DATABASE(database)
    entries = mapping(database)
    no_twice("host", entries.get("workers_list", ()), "workers_list")
    for name, user in entries["users"].items():
        equal("the key", name, user["username"], "users", name, "username")
    for key, slice_ in entries.get("slices", {}).items():
        equal("the key", key, str(slice_["slice_id"]), "slices", key, "slice_id")
        derived = Slice(slice_["slice_id"], "")
        for bound in ("vlan_pool_start", "vlan_pool_end"):
            wanted = getattr(derived, bound)
            equal("what follows from the slice's id,", wanted, slice_.get(bound, wanted), "slices", key, bound)

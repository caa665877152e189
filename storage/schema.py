"""The rules of the sections of `database.yaml`. They follow from the classes of `models` and `core/inventory.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce

from core.formats import FLAVOR_NAME, HOST, NAME, REALM
from core.inventory import IN_USE, IN_USE_OF_REALM, ImportSettings, Inventory, Realm, Worker
from core.names import FIRST_ID, LAST_ID
from core.rule import Broken, Key, Rule, mapping, mapping_of, record, show, text, whole
from models import Flavor, Slice, User


def equal(what: str, wanted: object, found: object, *path: Key) -> None:
    """Raise `Broken` where `found` is not `wanted`."""
    if found != wanted:
        raise Broken(f"must be {what} {show(wanted)}, not {show(found)}", *path)


def no_twice(kind: str, things: Iterable[Key], *path: Key) -> None:
    """Raise `Broken` where one of the things is there twice."""
    for thing, count in Counter(things).items():
        if count > 1:
            raise Broken(f"{kind} {thing} is there {count} times", *path)


# --- The sections (docs/spec/models.md, docs/reference/database.md) ---------------------------------------------------

SETTINGS = Inventory.rule()
OF_REALM = Realm.rule()


def _rules_of(settings: Mapping[str, str], all_: Rule) -> dict[str, Rule]:
    """Return the rules of settings such as `ssh.user`, by the keys that keep them."""
    return {
        name: reduce(lambda rule, key: {**rule.required, **rule.optional}[key], setting.split("."), all_)
        for name, setting in settings.items()
    }


DATABASE = record(
    {"users": mapping_of(NAME, User.rule())},
    {
        **SETTINGS.optional,
        "import": ImportSettings.rule(),
        "in_use": record(
            {},
            {
                **_rules_of(IN_USE, SETTINGS),
                "realms": mapping_of(REALM, record({}, _rules_of(IN_USE_OF_REALM, OF_REALM))),
            },
        ),
        "flavors": mapping_of(FLAVOR_NAME, Flavor.setting()),
        "workers": mapping_of(HOST, Worker.rule()),
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

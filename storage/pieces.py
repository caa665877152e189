"""The pieces of a state, whatever stores them: what a change changes, and whether it keeps the rules.

A piece is a section, or an entry of one that may have many: a user, a slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from allocation.holdings import Holdings
from allocation.taken import Taken, TakenBy, TakenNow
from core.rule import Record
from storage import rules, schema
from storage.state import Entries, Kept, State, entries_of, record_of

Place = tuple[str, str]
"""A section, and the key of an entry in it. A section of one piece has the key ""."""

Pieces = Mapping[str, Mapping[str, Kept]]
"""By section and key."""

Changes = Mapping[Place, Any]
"""The values that differ from those before; `GONE` for a value that is removed."""

GONE = object()

_HOSTS = ("workers_list", "network_node", "data_ports", "underlay", "data_addresses", "realms")
EVERYWHERE = frozenset((*_HOSTS, "internet", "flavors", "import", "profiles"))
"""The sections that have a say in every slice, or in each other."""


def changed(before: Pieces, sections: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """Yield the changes in `sections`. Of many entries only the touched ones are compared."""
    yield from (((section, ""), GONE) for section in before if section not in sections)
    for section, value in sections.items():
        known = before.get(section, {})
        entries = entries_of(section, value)
        keys = entries.touched if isinstance(entries, Entries) and entries.kept is known else {**known, **entries}
        for key in keys:
            old = known[key].value if key in known else GONE
            new = record_of(entries[key]) if key in entries else GONE
            if new != old:
                yield (section, key), new


def changes_of(before: Pieces, state: State, in_use: Record) -> Changes:
    """Return the changes that `state` makes. Raise `Broken` for a broken rule.

    `in_use` are the settings with which the slices were made.
    """
    sections = state.sections
    if not any(changed(before, sections)):
        return {}
    rules.check_in_use(state, in_use)
    state.note_in_use()
    changes = dict(changed(before, sections if state.in_use is None else sections | {"in_use": state.in_use}))
    check_shape(changes)
    check_rules(state, before, changes)
    return changes


def check_shape(changes: Changes) -> None:
    """Raise `Broken` where a changed value by itself breaks a rule."""
    record: Record = {"users": {}}
    for (section, key), value in changes.items():
        if value is GONE:
            continue
        if key:
            record.setdefault(section, {})[key] = value
        else:
            record[section] = value
    schema.check(record)


def check_rules(state: State, before: Pieces, changes: Changes) -> None:
    """Raise `Broken` where `state` breaks a rule. The pieces before kept all rules; only the changes are checked."""
    if not before or any(section in EVERYWHERE for section, _ in changes):
        rules.check(state)
        return
    kept, keys = before.get("slices", {}), [key for section, key in changes if section == "slices" and key]
    gone = [holdings for key in keys if key in kept and (holdings := kept[key].holdings)]
    fresh = [holdings for key in keys if (holdings := state.slices.held(int(key)))]
    taken = TakenNow(_taken_before(state, kept), gone, fresh)
    named = (*(each.owner for each in (*fresh, *gone)), *(key for section, key in changes if section == "users"))
    for owner in sorted(dict.fromkeys(named), key=state.users.__contains__):  # missing users first, as in the whole
        known = before.get("users", {}).get(owner)
        rules.check_owner_of(state, owner, known.value if known else {}, taken)
    rules.check_slices(state, [holdings.slice_id for holdings in fresh], taken)


def _taken_before(state: State, kept: Mapping[str, Kept]) -> Taken:
    """Return the resources that slices held before a change."""
    if state.slices.entries.kept is kept:
        return state.slices.kept_taken
    return TakenBy(holdings for entry in kept.values() if (holdings := entry.holdings))


def held(state: State, section: str, key: str) -> Holdings | None:
    """Return the holdings of a piece; only slices have some."""
    return state.slices.held(int(key)) if section == "slices" and key else None

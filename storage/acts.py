"""The lines of the audit log as values, and the bounds of their number. Pure; a store keeps them.

A line has the fields of `FIELDS`. Of a user's input it holds ids and names of existing users only. So no password gets
in, not even one that was typed as a name.

Each actor has separate lines, and refusals are kept apart from acts. So an actor's noise cannot push out the lines of
another actor, and refusals cannot push out acts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

FIELDS = ("time", "actor", "by", "action", "slice", "vm", "result", "seconds", "count", "last")
"""`time` is in UTC (ISO 8601), `seconds` the action's duration; `slice` and `vm` are ids, or null.

`by` is `operator` for an act that the command line carried out for the actor, else null.

`count` is the number of repetitions within that hour, `last` the time of the last one.
"""

Entry = dict[str, Any]
"""A line as it is shown: the fields of `FIELDS`."""


class KeptAct(NamedTuple):
    """A line that a store has kept: its moment in nanoseconds since 1970, the name of its actor's lines, its fields."""

    order: int
    ring: str
    entry: Entry


OK = "ok"
BEGUN = "begun"
LONGEST_RESULT = 1000

REFUSALS_IN_FULL = 50
"""Maximum lines of one actor's refusals within an hour; further ones are counted in one line per action."""

ACTS_IN_FULL = 300
"""The same bound for acts: beyond it equal acts are counted, and those of `CHEAP` in one line per action."""

CHEAP = {"log in", "run command", "change password", "create slice", "create link"}
"""Acts without a host, so that a program could do thousands of them in a minute."""

COUNTED = {"run command", "connect"}
"""Acts of programs such as an editor, which come again and again: within an hour equal ones are one line."""


@dataclass(frozen=True)
class ActLine:
    """A line before it is written.

    `refused`: nothing was changed. `begun`: hosts were. `order` is nanoseconds since 1970, finer than `time`, and not
    shown.
    """

    time: str
    actor: str
    by: str | None
    action: str
    slice_id: int | None
    vm_id: int | None
    result: str
    seconds: float
    order: int
    refused: bool = False
    begun: bool = False

    @property
    def what(self) -> str:
        """Return the part that two equal acts share, as JSON; the second one is only counted."""
        who = {"actor": self.actor, "by": self.by, "action": self.action}
        what = {"slice": self.slice_id, "vm": self.vm_id, "result": self.result}
        return json.dumps({**who, **what})

    @property
    def hour(self) -> str:
        """Return the beginning of all times of the same hour."""
        return self.time[:13]

    @property
    def ring(self) -> str:
        """Return the name of its actor's lines; where the name has other characters, `_` replaces them after `@`."""
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", self.actor)[:64]
        name = plain if plain == self.actor else f"@{plain}"
        return f"{name}.{'refused' if self.refused else 'acts'}"

    @property
    def in_full(self) -> int:
        """Return how many lines of an hour are written one by one."""
        return REFUSALS_IN_FULL if self.refused else ACTS_IN_FULL

    @property
    def is_cheap(self) -> bool:
        """Return whether no host took part; a `delete` of a slice without objects on hosts never began there."""
        return self.action in CHEAP or (self.action == "delete" and not self.begun)

    def without_ids(self) -> ActLine:
        """Return the line that stands for all further ones of this action within the hour."""
        result = OK if self.result == OK else "further ones within this hour"
        return replace(self, slice_id=None, vm_id=None, result=result, seconds=0.0)


def uncounted(act: ActLine, lines_of_hour: Callable[[], int], count_again: Callable[[ActLine], bool]) -> ActLine | None:
    """Count the act in an equal line of this hour where that is due; return the line to write, or None.

    `count_again` returns whether there is an equal line, in which it has counted the act.
    """
    is_full = lines_of_hour() >= act.in_full
    if not act.refused and not is_full and act.action not in COUNTED:
        return act
    if count_again(act):
        return None
    if not is_full or not (act.refused or act.is_cheap):
        return act
    act = act.without_ids()
    return None if count_again(act) else act


def entry_of(record: Mapping[str, Any]) -> tuple[int, Entry]:
    """Return the order and the fields of a line; raise `ValueError`, `TypeError` or `KeyError` for a damaged one."""
    moment = datetime.fromisoformat(record["time"])
    order = record.get("order", int(moment.timestamp()) * 1_000_000_000)
    if type(order) is not int:
        raise TypeError(order)
    later = {"count": 1, "last": record["time"]}
    return order, {name: record.get(name, later.get(name)) for name in FIELDS}

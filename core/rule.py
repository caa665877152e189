"""A rule for one value of `database.yaml`: a check, and the words for it. A rule for a record has a rule for each key.

A check takes a value as YAML gives it and raises `Broken` where the value does not keep the rule. Keys that are not in
the table of a record are refused: a misspelt one would be ignored when read, and lost when written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Record = dict[str, Any]
"""A mapping of plain values, as it stands in `database.yaml`."""

Key = str | int
Check = Callable[[Any], None]

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
    """Return how a sentence names a value: on one line, and not longer than a line."""
    if isinstance(value, str):
        return f'"{repr(value[:40])[1:-1]}{"..." if len(value) > 40 else ""}"'
    if isinstance(value, Unclear):
        return show(value.value)
    if isinstance(value, int | float):
        return repr(value).lower()  # true and false as YAML has them
    names: dict[type, str] = {type(None): "nothing", dict: "a mapping", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


# --- Rules ------------------------------------------------------------------------------------------------------------


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
        for name, element in mapping(value).items():
            _inside(name, check_key, name)
            _inside(name, check_item, element)

    return Rule(check, f"a mapping; each key is {key.words}", inside=item)


def record(required: Fields, optional: Fields | None = None) -> Rule:
    """Return the rule of a mapping with these keys and no others."""
    optional = optional or {}
    checks = {key: rule.check for key, rule in (required | optional).items()}

    def check(value: object) -> None:
        entries = mapping(value)
        for key, element in entries.items():
            if key not in checks:
                raise Broken(f"unknown key {show(key)}; known here: {', '.join(checks)}", key=key)
            try:  # without a function of its own: a file has tens of thousands of keys
                checks[key](element)
            except Broken as fault:
                fault.path = (key, *fault.path)
                raise
        for key in required:
            if key not in entries:
                raise Broken(f"the key {key} is missing")

    return Rule(check, "a mapping", required, optional)


def mapping(value: object) -> Record:
    """Return the value if it is a mapping; raise `Broken` for another one."""
    if not isinstance(value, dict):
        raise Broken(f"must be a mapping, not {show(value)}")
    return value


def _inside(key: Key, check: Check, value: object) -> None:
    try:
        check(value)
    except Broken as fault:
        fault.path = (key, *fault.path)
        raise

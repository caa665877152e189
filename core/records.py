"""Classes whose objects stand in `database.yaml` as mappings. One line of a class is one key: type, rule and default.

The rule of the file, `to_dict` and `from_dict` follow from these lines, whose order is the order in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from inspect import signature
from operator import itemgetter
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from core.rule import Record, Rule, list_of, mapping_of, one_of, or_nothing, record

Convert = Callable[[Any], Any]

V = TypeVar("V", bound="Recorded")

REQUIRED = object()
"""The default of a key that every record has."""


@dataclass(frozen=True)
class Key:
    """A key of a record: its rule, its default, and the functions that convert its value from and to plain values.

    A `brief` key is left out of the file while it has its default.
    """

    rule: Rule
    default: object = REQUIRED
    read: Convert | None = None
    write: Convert | None = None
    brief: bool = False
    derive: Convert | None = None
    inline: type[Recorded] | None = None

    @property
    def plain(self) -> object:
        """Return the default as a plain value."""
        return self.write(self.default) if self.write and self.default is not None else self.default


def key(rule: Rule, *, default: object = REQUIRED, brief: bool = False) -> Any:
    """Declare a key with a plain value. Without a default it is required in every record."""
    return Key(rule, default, brief=brief)


def derived(rule: Rule, derive: Convert) -> Any:
    """Declare a key whose value is derived from the object: it is written, and not read."""
    return Key(rule, None, derive=derive)


def state(kind: type[Enum], *, default: Enum, brief: bool = False) -> Any:
    """Declare a key with a member of an enum; the file has its text."""
    members = {str(member): member for member in kind}
    return Key(one_of(*members), default, members.__getitem__, str, brief=brief)


def state_or_nothing(kind: type[Enum]) -> Any:
    """Declare a key with a member of an enum that is mostly None, and then left out of the file."""
    members = {str(member): member for member in kind}
    return Key(one_of(*members), None, members.get, str, brief=True)


def items(rule: Rule, *, most: int | None = None, brief: bool = False) -> Any:
    """Declare a key with a list of plain values, at most so many; the constructor makes the empty list."""
    return Key(list_of(rule, most), [], list, list, brief=brief)


def sequence(rule: Rule, *, default: object = REQUIRED, brief: bool = False) -> Any:
    """Declare a key with a tuple; `rule` is that of the list in the file."""
    return Key(rule, default, tuple, list, brief=brief)


def entries(name: Rule, value: Rule) -> Any:
    """Declare a key with a mapping of names to plain values, which is empty by default."""
    return Key(mapping_of(name, value), {}, dict, dict)


def records_by_name(name: Rule, kind: type[Recorded]) -> Any:
    """Declare a key with a mapping of names to other records, which is empty by default."""
    return Key(
        mapping_of(name, kind.rule()),
        {},
        lambda values: {name: kind.from_dict(value) for name, value in values.items()},
        lambda values: {name: value.to_dict() for name, value in values.items()},
    )


def section(kind: type[Recorded], *, brief: bool = False) -> Any:
    """Declare a key with another record, of which each key has a default."""
    return Key(kind.rule(), kind(), kind.from_dict, kind.to_dict, brief=brief)


def inline(kind: type[Recorded]) -> Any:
    """Declare a part whose keys, each with a default, stand among those of the record itself."""
    return Key(kind.rule(), kind(), inline=kind)


def part(kind: type[Recorded]) -> Any:
    """Declare a key with another record, or None; the constructor accepts its mapping, too, and converts it by `of`."""
    return Key(or_nothing(kind.rule()), None, write=kind.to_dict)


def addition(kind: type[Recorded]) -> Any:
    """Declare a key with another record, which is left out of the file while it is None."""
    return Key(or_nothing(kind.rule()), None, kind.of, kind.to_dict, brief=True)


def parts(kind: type[Recorded], *, default: object = REQUIRED, most: int | None = None, brief: bool = False) -> Any:
    """Declare a key with a list of other records, at most so many; the constructor makes the list."""
    return Key(
        list_of(kind.rule(), most),
        default,
        lambda values: [kind.from_dict(value) for value in values],
        lambda values: [value.to_dict() for value in values],
        brief,
    )


class Recorded:
    """An object that stands in `database.yaml` as a mapping of the keys that its class declares."""

    KEYS: ClassVar[Mapping[str, Key]]
    _layout: ClassVar[Record]
    _missing: ClassVar[Record]
    _readers: ClassVar[list[tuple[str, Convert]]]
    _arguments: ClassVar[Callable[[Record], tuple[Any, ...]]]
    _others: ClassVar[list[str]]
    _writers: ClassVar[list[tuple[str, Convert]]]
    _derived: ClassVar[list[tuple[str, Convert]]]
    _brief: ClassVar[list[tuple[str, object]]]
    _inline: ClassVar[list[tuple[str, type[Recorded]]]]

    def __init_subclass__(cls) -> None:
        """Collect the keys that the class declares; one without any has those of its base.

        Their defaults become attributes of the class.
        """
        keys = {name: each for name, each in vars(cls).items() if isinstance(each, Key)}
        if not keys:
            return
        for name, each in keys.items():
            if each.derive:
                setattr(cls, name, property(each.derive))
            elif each.default is REQUIRED or isinstance(each.default, list):
                delattr(cls, name)
            elif isinstance(each.default, dict):
                setattr(cls, name, field(default_factory=dict))
            else:
                setattr(cls, name, each.default)
        cls.KEYS = keys
        cls._layout = {name: each.default for name, each in keys.items()}
        cls._missing = {name: each.plain for name, each in keys.items() if each.default is not REQUIRED}
        cls._readers = [(name, each.read) for name, each in keys.items() if each.read]
        parameters = [*signature(cls).parameters] if "__init__" in vars(cls) else [*keys]
        cls._arguments = _getter(parameters)
        cls._others = [name for name, each in keys.items() if name not in parameters and not each.derive]
        cls._writers = [(name, each.write) for name, each in keys.items() if each.write]
        cls._derived = [(name, each.derive) for name, each in keys.items() if each.derive]
        cls._brief = [(name, each.plain) for name, each in keys.items() if each.brief]
        cls._inline = [(name, each.inline) for name, each in keys.items() if each.inline]

    @classmethod
    def rule(cls) -> Rule:
        """Return the rule of the record in the file."""
        required = {name: each.rule for name, each in cls.KEYS.items() if each.default is REQUIRED}
        others = {name: each for name, each in cls.KEYS.items() if name not in required}
        optional = [each.rule.optional if each.inline else {name: each.rule} for name, each in others.items()]
        return record(required, {name: rule for rules in optional for name, rule in rules.items()})

    @classmethod
    def from_dict(cls, record: Record) -> Self:
        """Return the object that `to_dict` wrote; raise `KeyError` where a required key is missing."""
        values = record
        if cls._readers or cls._inline or len(record) < len(cls.KEYS):  # many records are complete: no copy is needed
            values = cls._missing | record
            for name, read in cls._readers:
                values[name] = read(values[name])
            for name, kind in cls._inline:
                if not kind.KEYS.keys().isdisjoint(record):  # else the default, which all share
                    values[name] = kind.from_dict({key: record[key] for key in kind.KEYS if key in record})
        made = cls(*cls._arguments(values))
        for name in cls._others:
            if name in record:
                setattr(made, name, values[name])
        return made

    def to_dict(self) -> Record:
        """Return the object as a mapping of plain values, which shares nothing with the object."""
        values = self._layout | vars(self)
        for name, write in self._writers:
            if values[name] is not None:
                values[name] = write(values[name])
        for name, derive in self._derived:
            values[name] = derive(self)
        for name, kind in self._inline:
            inner = values.pop(name)
            if inner is not self._layout[name]:  # the shared default has nothing to write
                values |= kind.to_dict(inner)
        for name, default in self._brief:
            if values[name] == default:
                del values[name]
        return values

    @classmethod
    def of(cls, value: Self | Record | None) -> Self | None:
        """Return the object that is given as it is or as its documented mapping, or None."""
        return cls.from_dict(value) if isinstance(value, dict) else value


def _getter(names: Sequence[str]) -> Callable[[Record], tuple[Any, ...]]:
    """Return a function that returns the values of these keys. An `itemgetter` of one key returns no tuple."""
    get = itemgetter(*names)
    return get if len(names) > 1 else lambda record: (get(record),)


@dataclass_transform(frozen_default=True, field_specifiers=(key,))
def value(kind: type[V]) -> type[V]:
    """Make a class of records that never change a frozen dataclass of its keys."""
    return dataclass(frozen=True)(kind)

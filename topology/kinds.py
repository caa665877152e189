"""Kinds of values in a slice file: each reads a node and describes itself as JSON Schema (draft-07)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping as Dict
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple, Protocol

from topology.document import Mapping, Node, Sequence, Text, plain
from topology.faults import FoundFaults, shown

Schema = dict[str, Any]


class Held(NamedTuple):
    """A value and the line where it stands."""

    line: int
    value: Any


class Kind(Protocol):
    """A kind of value."""

    def read(self, node: Node, report: FoundFaults) -> Any:
        """Return the value of `node`, or note a fault and return None."""

    def schema(self) -> Schema:
        """Return the JSON Schema of the value."""


@dataclass(frozen=True)
class Words:
    """Text of at most `longest` characters; on one line unless `lines`."""

    longest: int
    lines: bool = False

    def read(self, node: Node, report: FoundFaults) -> str | None:
        """Return the text."""
        if not isinstance(node, Text):
            report.add(node.line, "a text is expected here")
        elif len(node.text) > self.longest:
            report.add(node.line, f"the text has {len(node.text)} characters; at most {self.longest} are allowed")
        elif bad := next((each for each in node.text if not self._takes(each)), None):
            report.add(node.line, f"the character {bad!a} is not allowed in this text")
        else:
            return node.text
        return None

    def _takes(self, character: str) -> bool:
        spaces = "\n\t" if self.lines else ""
        return character.isprintable() or character in spaces or unicodedata.category(character) == "Zs"

    def schema(self) -> Schema:
        """Return the schema of a string."""
        return {"type": ["string", "number", "boolean"], "maxLength": self.longest}


@dataclass(frozen=True)
class Pattern:
    """A word of a form. `rule` says it in words: "letters, digits ..."."""

    form: str
    rule: str

    def matches(self, text: str) -> bool:
        """Return whether `text` has the form."""
        return re.fullmatch(self.form, text) is not None

    def read(self, node: Node, report: FoundFaults) -> str | None:
        """Return the word."""
        if isinstance(node, Text) and self.matches(node.text):
            return node.text
        found = shown(node.text) if isinstance(node, Text) else "this"
        report.add(node.line, f"{found} is not {self.rule}")
        return None

    def schema(self) -> Schema:
        """Return the schema of a string with a pattern."""
        return {"type": "string", "pattern": f"^{self.form}$"}


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, node: Node, report: FoundFaults) -> str | None:
        """Return the word."""
        if isinstance(node, Text) and node.text in self.words:
            return node.text
        found = node.text if isinstance(node, Text) else ""
        report.add(node.line, f"{shown(found)} is not one of {', '.join(self.words)}{report.guess(found, self.words)}")
        return None

    def schema(self) -> Schema:
        """Return the schema of an enumeration."""
        return {"enum": list(self.words)}


@dataclass(frozen=True)
class Flag:
    """`true` or `false`."""

    def read(self, node: Node, report: FoundFaults) -> bool | None:
        """Return the bool."""
        if isinstance(node, Text) and node.text in {"true", "false"}:
            return node.text == "true"
        report.add(node.line, "write true or false here")
        return None

    def schema(self) -> Schema:
        """Return the schema of a boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Number:
    """A whole number from `least` to `most`."""

    least: int
    most: int

    def read(self, node: Node, report: FoundFaults) -> int | None:
        """Return the number; one with a leading zero, `_` or `:` is none."""
        if isinstance(node, Text) and re.fullmatch(r"0|[1-9][0-9]{0,8}", node.text):
            value = int(node.text)
            if self.least <= value <= self.most:
                return value
        report.add(node.line, f"write a whole number from {self.least} to {self.most} here")
        return None

    def schema(self) -> Schema:
        """Return the schema of an integer."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Measure:
    """A number with a unit, such as `10mbit` or `2.5ms`; the bounds are in the first unit of `units`."""

    units: Dict[str, float]
    most: float
    least: float = 0

    def read(self, node: Node, report: FoundFaults) -> str | None:
        """Return the text, as it is written."""
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(\D{1,5})", node.text) if isinstance(node, Text) else None
        if found and found[2] in self.units:
            value, unit = float(found[1]) * self.units[found[2]], next(iter(self.units))
            if self.least <= value <= self.most:
                return found[0]
            report.add(node.line, f"{shown(found[0])} is not from {self.least:.10g}{unit} to {self.most:.10g}{unit}")
            return None
        example = " or ".join(f"10{unit}" for unit in self.units)
        report.add(node.line, f"write a number with its unit here, such as {example}")
        return None

    def schema(self) -> Schema:
        """Return the schema of a string with a pattern."""
        units = "|".join(re.escape(unit) for unit in self.units)
        return {"type": "string", "pattern": f"^[0-9]{{1,9}}(\\.[0-9]{{1,6}})?({units})$"}


@dataclass(frozen=True)
class Address:
    """An IPv4 address."""

    def read(self, node: Node, report: FoundFaults) -> IPv4Address | None:
        """Return the address."""
        try:
            return IPv4Address(node.text if isinstance(node, Text) else "")
        except ValueError:
            report.add(node.line, "write an IPv4 address here, such as 10.1.2.1")
            return None

    def schema(self) -> Schema:
        """Return the schema of a string."""
        return {"type": "string", "format": "ipv4"}


@dataclass(frozen=True)
class Cidr:
    """An IPv4 network in CIDR notation."""

    def read(self, node: Node, report: FoundFaults) -> IPv4Network | None:
        """Return the network; one with bits of a host is refused and the network named."""
        text = node.text if isinstance(node, Text) else ""
        try:
            network = IPv4Network(text, strict=False)
        except ValueError:
            network = None
        if network is None or "/" not in text or not text.rpartition("/")[2].isdigit():
            report.add(node.line, "write a network here, such as 10.1.2.0/24")
        elif str(network) != text:
            report.add(node.line, f"{shown(text)} is an address of a network; write {network}")
        else:
            return network
        return None

    def schema(self) -> Schema:
        """Return the schema of a string with a pattern."""
        return {"type": "string", "pattern": r"^[0-9.]+/[0-9]{1,2}$"}


@dataclass(frozen=True)
class ListOf:
    """At most `most` values of one kind."""

    kind: Kind
    most: int

    def read(self, node: Node, report: FoundFaults) -> list[Held] | None:
        """Return the values that could be read, each with its line."""
        if not isinstance(node, Sequence):
            report.add(node.line, "a list is expected here: one line for each, beginning with `- `")
            return None
        if len(node.items) > self.most:
            report.add(node.line, f"the list has {len(node.items)} entries; at most {self.most} are allowed")
            return None
        values = [Held(item.line, self.kind.read(item, report)) for item in node.items]
        return [held for held in values if held.value is not None]

    def schema(self) -> Schema:
        """Return the schema of an array."""
        return {"type": "array", "items": self.kind.schema(), "maxItems": self.most}


@dataclass(frozen=True)
class TableOf:
    """A mapping from words to values of one kind; each value keeps the line of its key."""

    key: Pattern
    kind: Kind
    most: int

    def read(self, node: Node, report: FoundFaults) -> dict[str, Held] | None:
        """Return word -> value with its line."""
        if not isinstance(node, Mapping):
            report.add(node.line, "write `name: value` here, one line for each")
            return None
        if len(node.entries) > self.most:
            report.add(node.line, f"there are {len(node.entries)} entries; at most {self.most} are allowed")
            return None
        found: dict[str, Held] = {}
        for key, value in node.entries:
            word = self.key.read(key, report)
            if word in found:
                report.add(key.line, f"{shown(key.text)} is there twice; remove one")
            elif word is not None and (read := self.kind.read(value, report)) is not None:
                found[word] = Held(key.line, read)
        return found

    def schema(self) -> Schema:
        """Return the schema of an object with free keys."""
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{self.key.form}$"},
            "additionalProperties": self.kind.schema(),
            "maxProperties": self.most,
        }


@dataclass(frozen=True)
class ByForm:
    """One value in several forms: a word, a list, or keys with values; the form of the node chooses the kind."""

    word: Kind
    keys: Kind
    items: Kind | None = None

    def read(self, node: Node, report: FoundFaults) -> Any:
        """Return what the kind for this form reads."""
        if isinstance(node, Mapping):
            return self.keys.read(node, report)
        if isinstance(node, Sequence) and self.items:
            return self.items.read(node, report)
        return self.word.read(node, report)

    def schema(self) -> Schema:
        """Return the schema of a choice."""
        return {"anyOf": [kind.schema() for kind in (self.word, self.items, self.keys) if kind]}


@dataclass(frozen=True)
class AsYAML:
    """A mapping that another program reads as YAML."""

    def read(self, node: Node, report: FoundFaults) -> dict[str, Any] | None:
        """Return the mapping."""
        if isinstance(node, Mapping):
            value: dict[str, Any] = plain(node)
            return value
        report.add(node.line, "write `name: value` here, one line for each")
        return None

    def schema(self) -> Schema:
        """Return the schema of an object."""
        return {"type": "object"}


@dataclass(frozen=True)
class Field:
    """A key of a record: its kind and a sentence for the reader of the schema."""

    name: str
    kind: Kind
    help: str
    required: bool = False


@dataclass(frozen=True)
class Record:
    """A mapping with known keys."""

    title: str
    fields: Listed[Field]

    def read(self, node: Node, report: FoundFaults) -> dict[str, Held] | None:
        """Return key -> value with its line, for the keys that could be read."""
        if not isinstance(node, Mapping):
            report.add(node.line, f"{self.title} is written as `name: value`, one line for each")
            return None
        known = {field.name: field for field in self.fields}
        found: dict[str, Held] = {}
        seen: set[str] = set()
        for key, value in node.entries:
            if key.text not in known:
                report.add(key.line, f"{self.title} has no {shown(key.text)}{report.guess(key.text, known)}")
            elif key.text in seen:
                report.add(key.line, f"{shown(key.text)} is there twice; remove one")
            elif (read := known[key.text].kind.read(value, report)) is not None:
                found[key.text] = Held(key.line, read)
            seen.add(key.text)
        for field in self.fields:
            if field.required and field.name not in seen:
                report.add(node.line, f"{self.title} needs `{field.name}`: {field.help}")
        return found

    def schema(self) -> Schema:
        """Return the schema of an object that has these keys and no others."""
        required = [field.name for field in self.fields if field.required]
        return {
            "type": "object",
            "properties": {field.name: {"description": field.help, **field.kind.schema()} for field in self.fields},
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }

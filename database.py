"""`database.yaml`: read, checked, locked, and replaced in one piece (DESIGN 6).

Several processes and threads may use one file. Every change is a read-modify-write under a lock of a moment; the right
to change the hosts of one slice is a lock of its own, because a deployment takes long.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from errors import FileFault
from models import Record, next_vm_id
from storage import rules, schema
from storage.files import is_locked, locked, replace, require_replaceable
from storage.schema import Broken
from storage.state import SECTIONS, State

__all__ = ["Database", "State"]

LOCK_WAIT_S = 60.0
CLAIM_WAIT_S = 0.2
"""Long enough to sit out another session that only asks `is_claimed`."""

MAX_BYTES = 32 << 20
"""Some 40,000 VMs. What is larger is no database of ours, and would keep the manager busy for minutes."""

SETTLED_NS = 1_000_000_000
"""Age from which a file's times tell it from a later one: the kernel's clock for files ticks every few milliseconds."""


@dataclass(frozen=True)
class _Version:
    """The file as it was at one moment, checked; `signature` tells it from every other version."""

    record: Record
    signature: tuple[int, ...]


class Database:
    """One `database.yaml`. Everything that can go wrong with it is `Refused`, with the file's name and what to do."""

    def __init__(self, path: str | Path = "database.yaml") -> None:
        self.path = Path(path)
        self._file = Path(os.path.realpath(path))  # a symbolic link stays one when the file behind it is replaced
        self._settled: _Version | None = None
        self._writer: int | None = None

    @property
    def previous(self) -> Path:
        """The version before the last change."""
        return self.beside("previous")

    def load(self) -> State:
        """The state as it is now, the caller's own."""
        return State.from_dict(self._read().record)

    @contextmanager
    def transaction(self) -> Iterator[State]:
        """The state, alone with it; what the body changed is saved when it ends, and forgotten when it raises."""
        if self._writer == threading.get_ident():
            message = "a transaction inside a transaction would wait for itself"
            raise RuntimeError(message)
        busy = f"The database has been locked by another session for {LOCK_WAIT_S:.0f} s; try again when it is done"
        with locked(self.beside("lock"), self._file, LOCK_WAIT_S, busy) as is_alone:
            self._writer = threading.get_ident()
            try:
                version = self._read()
                state = State.from_dict(version.record)
                before = state.to_dict()
                yield state
                after = state.to_dict()
                if after != before:
                    self._save(after, version, is_alone)
            finally:
                self._writer = None

    def get_next_vm_id(self) -> int:
        """Take the next id of the counter that VMs and slices share."""
        with self.transaction() as state:
            vm_id = next_vm_id(state.next_vm_id, state.slices.values())
            state.next_vm_id = vm_id + 1
            return vm_id

    def claim(self, slice_id: int) -> AbstractContextManager[object]:
        """The exclusive right to change what a slice has on the hosts; `Refused` while another session has it."""
        busy = f"Slice {slice_id} is being worked on by another session; try again when it is done"
        return locked(self._claim_file(slice_id), self._file, CLAIM_WAIT_S, busy, remove=True)

    def is_claimed(self, slice_id: int) -> bool:
        """Whether any session, this one included, is changing what a slice has on the hosts."""
        return is_locked(self._claim_file(slice_id))

    def beside(self, suffix: str) -> Path:
        """A file that goes with the database: `<database>.<suffix>`, in its folder."""
        return self._file.with_name(f"{self._file.name}.{suffix}")

    def _claim_file(self, slice_id: int) -> Path:
        return self.beside(f"slice-{slice_id}.lock")

    def _read(self) -> _Version:
        try:
            found = self._file.stat()
            if not stat.S_ISREG(found.st_mode):  # opening a FIFO would wait for ever
                raise FileFault(f"{self.path} is not a file: name the database with --database")
            if self._settled and self._settled.signature == _signature(found):
                return self._settled
            with self._file.open("rb") as file:
                found = os.fstat(file.fileno())
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise FileFault(
                f"{self.path} does not exist: name the database with --database, or put a copy of the shipped one there"
                f"{self._way_back()}"
            ) from None
        except OSError as error:
            raise FileFault(f"{self.path} cannot be read ({error.strerror}): check its rights") from error
        try:
            record = _parsed(content)
            self._require_whole(record, content)
        except _Unreadable as fault:
            raise FileFault(f"{self.path}, line {fault.line}: {fault}{self._way_back()}") from fault
        version = _Version(record, _signature(found))
        # An inode can be given anew, and a file can change twice in one tick of the clock: only an older one is kept.
        self._settled = version if time.time_ns() - found.st_ctime_ns > SETTLED_NS else None
        return version

    def _require_whole(self, record: Record, content: bytes) -> None:
        """A file saved before has all sections: one with the first ones only has lost its end."""
        there = tuple(section for section in record if section in SECTIONS)
        if there != SECTIONS and there == SECTIONS[: len(there)] and self.previous.exists():
            raise _Unreadable(f"ends after {there[-1]}, it was cut off", content.count(b"\n") + 1)

    def _way_back(self) -> str:
        """How to get the previous version back, where it is there and good."""
        try:
            with self.previous.open("rb") as file:
                _parsed(file.read(MAX_BYTES + 1))
        except (OSError, _Unreadable):
            return ""
        return f"; to go back to the version before the last change: cp {self.previous} {self._file}"

    def _save(self, record: Record, version: _Version, is_alone: Callable[[], bool]) -> None:
        """Replace `version`, which is good, by `record`, and keep it as the previous one."""

        def last_look() -> None:
            if not is_alone():
                raise FileFault(f"{self.beside('lock')} was removed by somebody just now; nothing was saved, try again")
            if _signature(self._file.stat()) != version.signature:
                raise FileFault(f"{self.path} was changed by another program just now; nothing was saved, try again")

        try:
            _check(record)
        except Broken as fault:
            raise FileFault(f"{self.path} was not changed, the new state would be wrong: {fault}") from fault
        try:
            old, like = self._file.read_bytes(), self._file.stat()
            content = _leading_comment(old) + _yaml(record)
            require_replaceable(self._file, like)
            if len(content) > MAX_BYTES:
                raise FileFault(f"{self.path} would outgrow {MAX_BYTES >> 20} MiB, nothing was saved: delete slices")
            last_look()
            replace(self.previous, old, like)
            replace(self._file, content, like, last_look)
        except OSError as error:
            raise FileFault(
                f"{self.path} cannot be saved ({error.strerror}), it is as it was: check free space and rights in "
                f"{self._file.parent}"
            ) from error


def _parsed(content: bytes) -> Record:
    """The record in a file's content, checked; `_Unreadable` where it is none."""
    if len(content) > MAX_BYTES:
        raise _Unreadable(f"has more than {MAX_BYTES >> 20} MiB, and no database is that large", 1)
    text = _decoded(content)
    record: Record = _Reader(text).document()
    try:
        _check(record)
    except Broken as fault:
        raise _Unreadable(str(fault), _line_of(text, fault)) from fault
    return record


def _check(record: Record) -> None:
    schema.check(record)
    rules.check(State.from_dict(record))


def _signature(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


# --- YAML: events to plain values and back ----------------------------------------------------------------------------
# Over events because that takes a fifth of the time of yaml.load, and because only they show what a hand or an attacker
# may have put in and yaml.load takes silently: a key given twice, an alias, a tag.

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_MAX_DEPTH = 12
_MAX_PLAIN = 64
_WIDTH = 120
_JUNK = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENDS = r"\r\n\x85\u2028\u2029"
_LEADING_COMMENT = re.compile(rf"(?:[ \t]*(?:#[^{_ENDS}]*)?\r?\n)*")  # YAML 1.1 ends a comment in each of these


class _Unreadable(Exception):
    """Something in the file that keeps it from being used, and its line."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def _decoded(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable("is not UTF-8 text", content.count(b"\n", 0, error.start) + 1) from None
    if junk := _JUNK.search(text):
        raise _Unreadable(f"has the character {junk[0]!a}", text.count("\n", 0, junk.start()) + 1)
    return text


class _Scalars:
    """What YAML 1.1 takes a plain scalar for: `on` is true there, and 1:30 is 90. Remembers what it has seen."""

    def __init__(self) -> None:
        self._yaml: Any = yaml.SafeLoader("")
        self._tags: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def value_of(self, text: str) -> Any:
        """The value; `ValueError` or `yaml.YAMLError` for what only looks like one (`2024-99-99`)."""
        if len(text) > _MAX_PLAIN:  # no number of ours is that long, and Python takes long over long ones
            return text
        if text not in self._values:
            node = yaml.ScalarNode(self._tag(text), text)
            self._values[text] = self._yaml.construct_object(node, deep=True)
        return self._values[text]

    def is_string(self, text: str) -> bool:
        """Whether `text` is read as itself when it is written without quotes."""
        return self._tag(text) == "tag:yaml.org,2002:str"

    def _tag(self, text: str) -> str:
        if text not in self._tags:
            self._tags[text] = self._yaml.resolve(yaml.ScalarNode, text, (True, False))
        return self._tags[text]


class _Reader:
    """Plain values from YAML text; `_Unreadable` for anything but one document of mappings, lists and scalars."""

    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=_Loader)
        self._scalars = _Scalars()

    def document(self) -> Any:
        """The only document's value."""
        try:
            value, begun = None, False
            for event in self._events:
                if isinstance(event, yaml.DocumentStartEvent):
                    if begun:
                        raise _Unreadable("a second document begins here", _line(event))
                    value, begun = self._value(next(self._events), 0), True
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            problem = getattr(error, "problem", None) or "is not YAML"
            raise _Unreadable(problem, mark.line + 1 if mark else 1) from error
        return value

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise _Unreadable("anchors and aliases (& and *) have no place here", _line(event))
        if event.tag:
            raise _Unreadable(f"tags such as {schema.show(event.tag)} have no place here", _line(event))
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth == _MAX_DEPTH:
            raise _Unreadable("is nested too deeply", _line(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(depth + 1)
        return [self._value(item, depth + 1) for item in self._until(yaml.SequenceEndEvent)]

    def _mapping(self, depth: int) -> Record:
        mapping: Record = {}
        for event in self._until(yaml.MappingEndEvent):
            key = self._value(event, depth)
            if not isinstance(key, str):
                raise _Unreadable(f"the key {schema.show(key)} must be a text, put it in quotes", _line(event))
            if key in mapping:
                raise _Unreadable(f"the key {schema.show(key)} is there twice", _line(event))
            mapping[key] = self._value(next(self._events), depth)
        return mapping

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        while not isinstance(event := next(self._events), end):
            yield event

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        if not event.implicit[0]:
            return event.value
        try:
            return self._scalars.value_of(event.value)
        except (ValueError, OverflowError, yaml.YAMLError):
            raise _Unreadable(f"{schema.show(event.value)} is no value, put it in quotes", _line(event)) from None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _line_of(text: str, fault: Broken) -> int:
    """The line of what a rule complains about, or of the nearest thing around it. Slow: only a refusal needs it."""
    node = yaml.compose(text, Loader=_Loader)
    line = 1
    for part in (*fault.path, *([] if fault.key is None else [fault.key])):
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _yaml(record: Record) -> bytes:
    """`record` as YAML, small collections on one line; in half the time of yaml.dump."""
    scalars = _Scalars()

    def events(value: Any) -> Iterator[yaml.Event]:
        match value:
            case dict():
                yield yaml.MappingStartEvent(
                    None, None, implicit=True, flow_style=_is_leaf(value.values()) and len(str(value)) < _WIDTH
                )
                for key, item in value.items():
                    yield from events(key)
                    yield from events(item)
                yield yaml.MappingEndEvent()
            case list():
                yield yaml.SequenceStartEvent(None, None, implicit=True, flow_style=_is_leaf(value))
                for item in value:
                    yield from events(item)
                yield yaml.SequenceEndEvent()
            case str():
                yield yaml.ScalarEvent(None, None, (scalars.is_string(value), True), value)
            case _:
                yield yaml.ScalarEvent(None, None, (True, False), _plain(value))

    def stream() -> Iterator[yaml.Event]:
        yield yaml.StreamStartEvent()
        yield yaml.DocumentStartEvent(explicit=False)
        yield from events(record)
        yield yaml.DocumentEndEvent(explicit=False)
        yield yaml.StreamEndEvent()

    text: str = yaml.emit(stream(), Dumper=_Dumper, width=_WIDTH, allow_unicode=True)
    return text.encode()


def _plain(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            digits = repr(value)  # 1e-07 is a text in YAML 1.1, 1.0e-07 a number
            return digits if "." in digits else digits.replace("e", ".0e")
        case _:
            return repr(value)


def _is_leaf(items: Iterable[object]) -> bool:
    return not any(isinstance(item, dict | list) and item for item in items)


def _leading_comment(content: bytes) -> bytes:
    """The comment at the top of the file, which is the operator's: the only one that survives a change."""
    match = _LEADING_COMMENT.match(content.decode("utf-8-sig"))
    return match[0].encode() if match else b""

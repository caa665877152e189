"""YAML text to plain values and back.

The reader works on events, which takes a fifth of the time of yaml.load. Only events show dangerous content of a hand
or an attacker that yaml.load accepts silently: a key given twice, an alias, a tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from core.rule import Broken, Record, Unclear, show

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_MAX_DEPTH = 12
_MAX_PLAIN = 64
_WIDTH = 120
_REMEMBERED = 4096
_RESOLVER: Any = Resolver()
_JUNK = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""The characters that YAML has not. Named by what it has, they take 4 ms of each start to compile."""

_ENDS = r"\r\n\x85\u2028\u2029"
_LINES = rf"(?:[ \t]*(?:#[^{_ENDS}]*)?(?:\r\n|[{_ENDS}]))*"  # YAML 1.1 ends a comment in each of these
_LEADING_COMMENT = re.compile(_LINES)
_OPENING = re.compile(rf"{_LINES}(?:---(?=[ \t{_ENDS}]){_LINES})?")
_UNCLEAR = re.compile(r"^[-+]?0[0-9xXbBoO_]|[_:]")
"""A number with a leading 0, or with a sign within it."""

_COMMENT = re.compile(rf"#[^{_ENDS}]*")
_BREAK = re.compile(rf"[{_ENDS}]")


class Unreadable(Exception):
    """A fault in the file, and its line. `go_back` is false where the version before is no way out of it."""

    def __init__(self, reason: str, line: int, *, go_back: bool = True) -> None:
        super().__init__(reason)
        self.line = line
        self.go_back = go_back


def decoded(content: bytes) -> str:
    """Return the text in a file. Raise `Unreadable` where it is no text, or has characters that YAML does not allow."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable("is not UTF-8 text", content.count(b"\n", 0, error.start) + 1) from None
    if junk := _JUNK.search(text):
        raise Unreadable(f"has the character {junk[0]!a}", text.count("\n", 0, junk.start()) + 1)
    return text


def has_junk(whole: str) -> bool:
    """Return whether a text has characters that YAML has not."""
    return bool(_JUNK.search(whole))


# What YAML 1.1 takes a plain scalar for: `on` is true there, and 1:30 is 90. Most of them come again and again.


@lru_cache(_REMEMBERED)
def _value_of(text: str) -> Any:
    """Return the value. Raise `ValueError` or `yaml.YAMLError` for a text like `2024-99-99`."""
    value: Any = SafeConstructor().construct_object(yaml.ScalarNode(_tag_of(text), text), deep=True)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Unclear(value, text) if is_number and _UNCLEAR.search(text) else value


def _tag_of(text: str) -> str:
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))
    return tag


_remembered_tag_of = lru_cache(_REMEMBERED)(_tag_of)


def _is_string(text: str) -> bool:
    """Return whether YAML reads `text` as this text when it has no quotes."""
    tag_of = _remembered_tag_of if len(text) <= _MAX_PLAIN else _tag_of
    return tag_of(text) == "tag:yaml.org,2002:str"


def parsed(text: str) -> Any:
    """Return the value in `text`. Raise `Unreadable` unless it is one document of mappings, lists and scalars."""
    return _DocumentReader(text).document()


class _DocumentReader:
    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=_Loader)

    def document(self) -> Any:
        """Return the value of the only document."""
        try:
            value, begun = None, False
            for event in self._events:
                if isinstance(event, yaml.DocumentStartEvent):
                    if begun:
                        raise Unreadable("a second document begins here", _line(event))
                    value, begun = self._value(next(self._events), 0), True
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            problem = getattr(error, "problem", None) or "is not YAML"
            raise Unreadable(problem, mark.line + 1 if mark else 1) from error
        return value

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise Unreadable("anchors and aliases (& and *) have no place here", _line(event))
        if event.tag:
            raise Unreadable(f"tags such as {show(event.tag)} have no place here", _line(event))
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth == _MAX_DEPTH:
            raise Unreadable("is nested too deeply", _line(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(depth + 1)
        return [self._value(item, depth + 1) for item in self._until(yaml.SequenceEndEvent)]

    def _mapping(self, depth: int) -> Record:
        mapping: Record = {}
        for event in self._until(yaml.MappingEndEvent):
            key = self._value(event, depth)
            if not isinstance(key, str):
                raise Unreadable(f"the key {show(key)} must be a text, put it in quotes", _line(event))
            if key in mapping:
                raise Unreadable(f"the key {show(key)} is there twice", _line(event))
            mapping[key] = self._value(next(self._events), depth)
        return mapping

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        while not isinstance(event := next(self._events), end):
            yield event

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        if not event.implicit[0]:
            return event.value
        if len(event.value) > _MAX_PLAIN:  # no number of ours is that long, and Python takes long over long ones
            return event.value
        try:
            return _value_of(event.value)
        except (ValueError, OverflowError, yaml.YAMLError):
            raise Unreadable(f"{show(event.value)} is no value, put it in quotes", _line(event)) from None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def line_of(text: str, fault: Broken) -> int:
    """Return the line of the value that breaks a rule, or of the mapping around it. Slow; for refusals only."""
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


# Events say nothing of where they stand, so one of each kind is enough for all texts.

_BEGIN = (yaml.StreamStartEvent(), yaml.DocumentStartEvent(explicit=False))
_END = (yaml.DocumentEndEvent(explicit=False), yaml.StreamEndEvent())
_MAPPING, _FLOW_MAPPING = (
    yaml.MappingStartEvent(None, None, implicit=True, flow_style=flow_style) for flow_style in (False, True)
)
_LIST, _FLOW_LIST = (
    yaml.SequenceStartEvent(None, None, implicit=True, flow_style=flow_style) for flow_style in (False, True)
)
_MAPPING_END, _LIST_END = yaml.MappingEndEvent(), yaml.SequenceEndEvent()


def written(record: Record) -> str:
    """Return `record` as YAML, with small collections on one line, in half the time of yaml.dump."""
    events: list[yaml.Event] = [*_BEGIN]

    def put(value: Any, *, flow: bool = True) -> None:
        if isinstance(value, dict):
            is_small = flow and _is_leaf(value.values()) and len(str(value)) < _WIDTH
            events.append(_FLOW_MAPPING if is_small else _MAPPING)
            for key, item in value.items():
                events.append(_scalar(key))
                put(item)
            events.append(_MAPPING_END)
        elif isinstance(value, list):
            events.append(_FLOW_LIST if _is_leaf(value) else _LIST)
            for item in value:
                put(item)
            events.append(_LIST_END)
        else:
            events.append(_scalar(value))

    put(record, flow=False)
    text: str = yaml.emit([*events, *_END], Dumper=_Dumper, width=_WIDTH, allow_unicode=True)
    return text


@lru_cache(_REMEMBERED, typed=True)
def _scalar(value: object) -> yaml.ScalarEvent:
    if isinstance(value, str):
        return yaml.ScalarEvent(None, None, (_is_string(value), True), value)
    return yaml.ScalarEvent(None, None, (True, False), _plain(value))


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
    return not any(item and isinstance(item, (dict, list)) for item in items)


def leading_comment(text: str) -> str:
    """Return the comment at the top of the file, which is the operator's."""
    match = _LEADING_COMMENT.match(text)
    return match[0] if match else ""


def opening(text: str) -> str:
    """Return the comment at the top of the file with the line `---` that may follow, and the comments after that."""
    match = _OPENING.match(text)
    return match[0] if match else ""


def comments(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each comment of a YAML text begins and ends: what is between its tokens is blank, or a comment."""
    at = 0
    for token in yaml.scan(text, Loader=_Loader):
        begin, end = token.start_mark.index, token.end_mark.index
        if getattr(token, "style", None) in {"|", ">"}:  # the first line of a block can have one as well
            first = _BREAK.search(text, begin)
            begin = first.start() if first else begin
        yield from (match.span() for match in _COMMENT.finditer(text, at, begin))
        at = max(at, end)
    yield from (match.span() for match in _COMMENT.finditer(text, at))

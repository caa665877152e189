"""YAML as text with line numbers: no tag and no type of YAML has a meaning here.

YAML makes `on` a bool and `2222:22` a number; names and interfaces in a slice file are the text that stands there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_ANCHORS = 100
MAX_DEPTH = 30
MAX_NODES = 200_000
"""Values of a document, each use of an anchor counted: 1,000 VMs with 20 links each need a quarter of it."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Text:
    """A scalar. `quoted` is True where it stands in quotes or in a block."""

    line: int
    text: str
    quoted: bool = False


@dataclass(frozen=True)
class Sequence:
    """A list of nodes."""

    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Mapping:
    """Keys and nodes, in the order of the file."""

    line: int
    entries: tuple[tuple[Text, Node], ...]


Node = Text | Sequence | Mapping


class UnreadableError(Exception):
    """A text that is no YAML, or breaks a bound: the line and a sentence."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


def parse(text: str) -> Node:
    """Return the one document of `text`; raise `UnreadableError`."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise UnreadableError(1, f"the file is larger than {MAX_BYTES >> 10} KiB; divide it into several slices")
    try:
        return _Composer(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        problem = fault.problem or fault.context or "it cannot be read"
        raise UnreadableError(mark.line + 1 if mark else 1, f"this is not YAML: {problem}") from fault
    except (yaml.YAMLError, UnicodeError) as fault:
        raise UnreadableError(1, "this is not YAML: it has characters that YAML does not allow") from fault


def plain(node: Node) -> Any:
    """Return a node as YAML's usual values: for parts of a file that another program reads as YAML."""
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node.entries}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    if node.quoted or "\n" in node.text:
        return node.text
    try:
        value = yaml.safe_load(node.text)
    except (yaml.YAMLError, ValueError):
        return node.text
    return value if value is None or isinstance(value, bool | int | float) else node.text


class _Composer:
    """Nodes out of the parser's events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._sizes: dict[str, int] = {}
        self._heights: dict[str, int] = {}
        """Anchor -> the number of levels below it."""
        self._deepest = 0
        self._count = 0

    def document(self) -> Node:
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise UnreadableError(1, "the file is empty; begin it with `slice: NAME`")
        node = self._node(next(self._events), 0)
        next(self._events)  # the document ends
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise UnreadableError(_line(following), "a second document begins here; keep one slice in a file")
        return node

    def _node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise UnreadableError(_line(event), f"values are nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None and not (event.tag == "!" and isinstance(event, yaml.ScalarEvent)):
            raise UnreadableError(_line(event), f"tags such as {event.tag!r} are not allowed; remove it")
        before, outside = self._count, self._deepest
        self._deepest = depth
        self._counted(event, 1)
        node = self._composed(event, depth)
        if event.anchor:
            if len(self._anchors) == MAX_ANCHORS:
                raise UnreadableError(_line(event), f"more than {MAX_ANCHORS} anchors")
            self._anchors[event.anchor] = node
            self._sizes[event.anchor], self._heights[event.anchor] = self._count - before, self._deepest - depth
        self._deepest = max(outside, self._deepest)
        return node

    def _alias(self, event: Any, depth: int) -> Node:
        if event.anchor not in self._anchors:
            raise UnreadableError(_line(event), f"there is no anchor &{event.anchor} before this line")
        self._counted(event, self._sizes[event.anchor])
        self._deepest = max(self._deepest, depth + self._heights[event.anchor])
        if self._deepest > MAX_DEPTH:
            raise UnreadableError(_line(event), f"values are nested more than {MAX_DEPTH} deep, anchors included")
        return self._anchors[event.anchor]

    def _counted(self, event: Any, nodes: int) -> None:
        self._count += nodes
        if self._count > MAX_NODES:
            raise UnreadableError(_line(event), f"more than {MAX_NODES} values, each use of an anchor counted")

    def _composed(self, event: Any, depth: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.ScalarEvent):
            return Text(line, event.value, quoted=bool(event.style))
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(line, tuple(self._node(each, depth + 1) for each in self._until(yaml.SequenceEndEvent)))
        entries = []
        for each in self._until(yaml.MappingEndEvent):
            key = self._node(each, depth + 1)
            if not isinstance(key, Text):
                raise UnreadableError(_line(each), "a key has to be a word")
            entries.append((Text(_line(each), key.text, key.quoted), self._node(next(self._events), depth + 1)))
        return Mapping(line, tuple(entries))

    def _until(self, end: type) -> Iterator[Any]:
        while not isinstance(event := next(self._events), end):
            yield event


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1

"""A foreign file as nested dicts, lists and texts. Accessors accept any value, so that no foreign file fails."""

from __future__ import annotations

import json
from typing import Any

from core.errors import Refused
from topology.document import MAX_BYTES, MAX_DEPTH, MAX_NODES, Mapping, Node, Sequence, UnreadableError, parse


def from_yaml(text: str) -> Any:
    """Return the document of a YAML file; raise `Refused` with its line."""
    _check_content(text)
    try:
        return _texts(parse(text))
    except UnreadableError as fault:
        raise Refused(f"line {fault.line}: {fault}") from fault


def from_json(text: str) -> Any:
    """Return the document of a JSON file; raise `Refused` with its line."""
    _check_content(text)
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise Refused(f"line 1: the file is larger than {MAX_BYTES >> 10} KiB")
    try:
        return _bounded(json.loads(text))
    except json.JSONDecodeError as fault:
        raise Refused(f"line {fault.lineno}: this is not JSON: {fault.msg}") from fault
    except (RecursionError, ValueError) as fault:
        raise Refused(f"line 1: values are nested more than {MAX_DEPTH} deep, or are too many or too long") from fault


def _check_content(text: str) -> None:
    """Raise `Refused` where the file is empty or has only comments."""
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        raise Refused("line 1: the file is empty or has only comments; give the file of a topology")


def _texts(node: Node) -> Any:
    """Return a node as texts, with its merge keys (`<<: *other`) merged."""
    if isinstance(node, Mapping):
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, value in node.entries:
            found = _texts(value)
            maps = found if isinstance(found, list) else [found]
            if key.text == "<<" and not key.quoted and all(isinstance(each, dict) for each in maps):
                for name, inherited in (entry for each in maps for entry in each.items()):
                    merged.setdefault(name, inherited)
            else:
                own[key.text] = found
        return {**merged, **own}
    if isinstance(node, Sequence):
        return [_texts(item) for item in node.items]
    return "" if node.text in {"null", "~"} and not node.quoted else node.text


def _bounded(value: Any) -> Any:
    """Return a value of JSON with all scalars as texts; raise ValueError beyond the bounds of YAML files."""
    count = 0

    def walk(value: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if depth > MAX_DEPTH or count > MAX_NODES:
            raise ValueError
        if isinstance(value, dict):
            return {key: walk(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, depth + 1) for inner in value]
        if isinstance(value, bool):
            return str(value).lower()
        return "" if value is None else str(value)

    return walk(value, 0)


def mapping(value: Any) -> dict[str, Any]:
    """Return `value` where it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return `value` where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def several(value: Any) -> list[Any]:
    """Return a list as it is, a single value as a list of one, and an empty value as an empty list."""
    if isinstance(value, list):
        return value
    return [value] if value else []


def text(value: Any) -> str:
    """Return `value` where it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def number(value: Any, most: float = 1e9) -> float:
    """Return `value` as a number from 0 to `most`; 0 where it is none."""
    try:
        found = float(text(value))
    except ValueError:
        return 0.0
    return found if 0 <= found <= most else 0.0

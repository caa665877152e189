"""Write the page of `database.yaml`: every key with its rule, from the rules of `storage/schema.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from core.flavors import Devices
from core.inventory import ImportSettings, Inventory
from core.rule import Rule
from docs.reference.markdown import code, page, table
from docs.reference.meanings import MEANINGS, SECTIONS
from storage import schema

_INTRODUCTION = """
Every section but `users` may be missing. Then it has the defaults of this page. A key that is not on this page is
refused, with its line. [operations.md](../operations.md#the-file) says how the file is checked, changed and restored.
The file of a fresh checkout is an example ([database.yaml](../../database.yaml)).
"""


_SAME_KEYS = "slices.*.before."
"""The parts of a slice before a change: their keys are those of the slice itself."""


def database_page() -> str:
    """Return the page."""
    parts = [part for path, heading in SECTIONS.items() for part in _section(path, heading)]
    return page("database.yaml", _INTRODUCTION, *parts)


def keys() -> dict[str, Rule]:
    """Return every key of the file by its path, such as `slices.*.vms.*.name`; `*` is any key, or any entry."""
    return dict(_keys(schema.DATABASE, ""))


def _keys(rule: Rule, path: str) -> Iterator[tuple[str, Rule]]:
    for name, inner in (*rule.required.items(), *rule.optional.items()):
        yield f"{path}{name}", inner
        if path != _SAME_KEYS:
            yield from _keys(inner, f"{path}{name}.")
    if rule.inside is not None:
        yield from _keys(rule.inside, f"{path}*.")


def _section(path: str, heading: str) -> Iterator[str]:
    """Yield heading and table of the keys directly in the record at `path`."""
    yield f"## {heading}"
    record = _record_at(path)
    rows = [_row(f"{path}.{name}".lstrip("."), name, rule, record) for name, rule in _fields(record).items()]
    yield table(("key", "value", "default", "meaning"), rows)


def _record_at(path: str) -> Rule:
    rule = schema.DATABASE
    for name in filter(None, path.split(".")):
        inner = rule.inside if name == "*" else _fields(rule)[name]
        if inner is None:
            raise KeyError(path)
        rule = inner
    return rule


def _fields(rule: Rule) -> dict[str, Rule]:
    return {**rule.required, **rule.optional}


def _row(path: str, name: str, rule: Rule, record: Rule) -> tuple[str, str, str, str]:
    default = "(required)" if name in record.required else code(_default(path))
    return code(name), _words(rule), default, MEANINGS[path]


def _words(rule: Rule) -> str:
    """Return what a rule accepts, with what the entries of its list or mapping are."""
    inside = rule.inside
    if inside is None or inside.required or inside.optional:
        return rule.words
    return f"{rule.words}; each value is {inside.words}"


def _default(path: str) -> str:
    """Return the default of a setting or of a device; other keys have none."""
    value: object = asdict(Inventory()) | {"import": asdict(ImportSettings()), "flavors": {"*": asdict(Devices())}}
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return ""
        value = value[name]
    return _shown(value)


def _shown(value: object) -> str:
    """Return a value as YAML has it on one line; nothing for a section, whose keys have their own rows."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(item) for item in value)}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None or isinstance(value, dict) else str(value)

"""The files of the project, each read and parsed once: many rules are about all of them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT


@cache
def files(*suffixes: str) -> tuple[Path, ...]:
    """Return all files of the project with one of these suffixes, without hidden folders."""
    found = (path for place in ROOT.glob("[!.]*") for path in (place, *place.rglob("*")))
    return tuple(sorted(path for path in found if path.suffix in suffixes))


@cache
def text_of(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(text_of(path))

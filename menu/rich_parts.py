"""Import the parts of rich at their first use: prompts and sessions on pipes need none."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.box import ROUNDED, SIMPLE
    from rich.console import Console, ConsoleOptions, Group, RenderableType
    from rich.constrain import Constrain
    from rich.live import Live
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

__all__ = [
    "ROUNDED",
    "SIMPLE",
    "Console",
    "ConsoleOptions",
    "Constrain",
    "Group",
    "Live",
    "Padding",
    "Panel",
    "ProgressBar",
    "RenderableType",
    "Spinner",
    "Table",
    "Text",
    "Tree",
]

_ELSEWHERE = {
    "ROUNDED": "box",
    "SIMPLE": "box",
    "ConsoleOptions": "console",
    "Group": "console",
    "ProgressBar": "progress_bar",
}
"""The modules of parts that are not in the module of their own name."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(name)
    module = import_module(f"rich.{_ELSEWHERE.get(name, name.lower())}")
    found = globals()[name] = getattr(module, name)
    return found

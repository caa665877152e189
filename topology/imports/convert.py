"""Tell which tool a file comes from, and read it as a slice file with comments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from core.errors import Refused
from topology.faults import BadSliceFile
from topology.imports import cml, containerlab, gns3, kathara, netlab
from topology.imports.builder import Builder, Flavors
from topology.imports.source import from_json, from_yaml
from topology.reader import read
from topology.writer import write

TOOLS = ("containerlab", "netlab", "cml", "gns3", "kathara")


class _ToolReader(Protocol):
    """A module that reads the files of one tool."""

    def is_it(self, document: Any) -> bool:
        """Return whether the document looks like a file of the tool."""

    def read(self, document: Any, builder: Builder) -> tuple[str, str]:
        """Add all that the document has; return name and description."""


_YAML: dict[str, _ToolReader] = {"cml": cml, "containerlab": containerlab, "netlab": netlab}


def convert(text: str, flavors: Flavors, tool: str = "") -> tuple[str, list[str]]:
    """Return the slice file of a foreign topology, and a sentence for each kind of thing that was left out.

    `tool` is one of `TOOLS`, or empty to tell it by the content. Nothing in the file is run, and no other is opened.
    """
    builder = Builder(flavors)
    imported = builder.build(*_read(text.removeprefix("\ufeff"), builder, tool))
    written = write(imported.design)
    _check_written(written)
    return "".join([written, *(f"# {comment}\n" for comment in imported.comments)]), imported.notices


def _check_written(written: str) -> None:
    """Raise `Refused` where our own text is no slice file; its lines mean nothing to the user."""
    try:
        read(written)
    except BadSliceFile as bad:
        raise Refused(f"this topology cannot become a slice file: {bad.faults[0].sentence}") from bad


def _read(text: str, builder: Builder, tool: str) -> tuple[str, str]:
    """Add all that the file has to `builder`; return the name and the description of the topology."""
    if tool and tool not in TOOLS:
        raise Refused(f"There is no reader for this tool; there are {', '.join(TOOLS)}")
    advice = "leave --from out, or name the right tool" if tool else "say where it comes from with --from"
    tool = tool or _told(text)
    if tool == "kathara":
        return kathara.read(text, builder)
    if tool == "gns3":
        return gns3.read(_checked(from_json(text), gns3.is_it, f"a project of GNS3; {advice}"), builder)
    document = from_yaml(text)
    found = [tool] if tool else [name for name, module in _YAML.items() if module.is_it(document)]
    if not found:
        raise Refused(f"this is no topology of {', '.join(TOOLS)}; {advice}")
    module = _YAML[found[0]]
    return module.read(_checked(document, module.is_it, f"a topology of {found[0]}; {advice}"), builder)


def _told(text: str) -> str:
    """Return the tool whose files are no YAML, where the text looks like one of them."""
    if text.lstrip().startswith("{"):
        return "gns3"
    return "kathara" if kathara.is_it(text) else ""


def _checked(document: Any, is_it: Callable[[Any], bool], otherwise: str) -> Any:
    if not is_it(document):
        raise Refused(f"this is not {otherwise}")
    return document

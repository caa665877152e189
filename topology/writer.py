"""Write a design as a slice file: a fixed order, defaults left out, the same bytes each time."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import yaml

from core.links import SERVICES
from models import MAX_DATA_INTERFACES
from topology.design import STARTS, STATES, Design, DesignedLink, DesignedVM
from topology.goals import written

SCHEMA = "slice.schema.json"
"""The JSON Schema of slice files, beside which an editor finds the keys; `docs/` has it."""

_WIDTH = 100
_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


def write(design: Design) -> str:
    """Return the slice file of a design; `reader.read` of it is the same design."""
    named = not _takes_next_nics(design)
    whole: dict[str, Any] = {"slice": design.name}
    if design.description:
        whole["description"] = design.description
    whole["vms"] = _Lines({vm.name: _vm(vm, _highest(design, vm.name)) for vm in design.vms})
    if design.links:
        whole["links"] = _Items(_link(link, named=named) for link in design.links)
    if design.goals:
        whole["goals"] = _Items(written(goal) for goal in design.goals)
    text = yaml.dump(whole, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=_WIDTH)
    return f"# yaml-language-server: $schema={SCHEMA}\n{text}"


class _Dumper(yaml.SafeDumper):
    """YAML without aliases, texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Write each value where it stands."""
        return True


class _Lines(dict[str, Any]):
    """A mapping with one line, or more, for each key."""


class _Items(list[Any]):
    """A list with one line, or more, for each item."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if not all(character.isprintable() or character in "\n\t" for character in text):
        style: str | None = '"'  # PyYAML writes U+0085 in other styles as a line break
    else:
        style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Lines, lambda dumper, lines: dumper.represent_mapping(_MAP, lines, flow_style=False))
_Dumper.add_representer(_Items, lambda dumper, items: dumper.represent_sequence(_SEQ, items, flow_style=False))


def _highest(design: Design, vm: str) -> int:
    return max((end.nic for link in design.links for end in link.ends if end.vm == vm), default=0)


def _takes_next_nics(design: Design) -> bool:
    """Return whether every end is the interface that the reader gives to an end without one."""
    used: dict[str, int] = defaultdict(int)
    for end in (end for link in design.links for end in link.ends):
        used[end.vm] += 1
        if end.nic != used[end.vm]:
            return False
    return True


def _vm(vm: DesignedVM, highest: int) -> Any:
    record: dict[str, Any] = {"flavor": vm.flavor}
    if vm.nics != min(highest + 1, MAX_DATA_INTERFACES):
        record["nics"] = vm.nics
    if vm.internet:
        record["internet"] = True
    if vm.seed.script or vm.seed.user_data:
        record["seed"] = {"script": vm.seed.script, "user_data": dict(vm.seed.user_data)}
        record["seed"] = {key: value for key, value in record["seed"].items() if value}
    if vm.start != STARTS[0]:
        record["start"] = vm.start
    return vm.flavor if len(record) == 1 else record


def _link(link: DesignedLink, *, named: bool) -> Any:
    ends = [str(end) if named else end.vm for end in link.ends]
    record: dict[str, Any] = {"ends": ends}
    if link.name:
        record["name"] = link.name
    if link.services != SERVICES[0]:
        record["services"] = link.services
    if link.cidr:
        record["cidr"] = str(link.cidr)
    if link.addresses:
        record["addresses"] = {vm: str(address) for vm, address in link.addresses.items()}
    record |= {key: _received(values, len(ends)) for key, values in link.impairments.items() if values}
    if link.state != STATES[0]:
        record["state"] = link.state
    if link.transparent:
        record["transparent"] = True
    if len(record) > 1:
        return record
    return ends if link.is_lan else " - ".join(ends)


def _received(values: Any, ends: int) -> Any:
    """Return one value where all ends have the same one, else the values by VM."""
    same = len(values) == ends and len(set(values.values())) == 1
    return next(iter(values.values())) if same else dict(values)

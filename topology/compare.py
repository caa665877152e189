"""The differences between two designs of a slice: the parts that are added, removed or changed. Pure.

VMs are compared by name, links by their ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from itertools import count
from typing import Any

from topology.design import Design, DesignedLink, DesignedVM, End, Seed


class Effect(Enum):
    """The effect of a difference on a running slice, from the weakest to the strongest."""

    LIVE = "changed live"
    AT_RESET = "changed at its next reset"
    RESTARTED = "restarted"
    REPLACED = "replaced, with a new disk"
    REMOVED = "removed"
    ADDED = "added"


_EFFECTS = {"seed": Effect.AT_RESET, "nics": Effect.RESTARTED, "flavor": Effect.REPLACED}
"""The effects of changed fields of a VM; all other changes, and those of links, are live."""

_ORDER = [*Effect]


@dataclass(frozen=True)
class Difference:
    """A VM, a link or the slice itself that differs. `fields`: the changed fields, with old and new values in words."""

    kind: str
    name: str
    effect: Effect
    fields: Mapping[str, str]

    def __str__(self) -> str:
        changed = ", ".join(f"{name} {values}" for name, values in self.fields.items())
        return f"{self.kind} {self.name}: {self.effect.value}{f' ({changed})' if changed else ''}"


def settled(now: Design, wanted: Design) -> Design:
    """Return `wanted` with the interfaces that its links and VMs have in `now`, where its author named none.

    Without this, a line that is added at the top of a file would move the links below it to other interfaces.
    """
    taken = {end for link in wanted.links for end in link.ends if end.named}
    free, kept = [*now.links], [dict[str, End]() for _ in wanted.links]
    for may_be in (_has_the_vms, _has_the_name, _grew):
        for place, link in enumerate(wanted.links):
            found = next((each for each in free if not kept[place] and may_be(each, link)), None)
            ends = _kept_ends(found, link, taken) if found else {}
            if found and ends:
                kept[place] = ends
                free.remove(found)
                taken.update(ends.values())
    links = [replace(link, ends=_filled(link.ends, ends, taken)) for link, ends in zip(wanted.links, kept, strict=True)]
    has, used = {vm.name: vm.nics for vm in now.vms}, _highest(links)
    vms = (vm if vm.nics_named else replace(vm, nics=_enough(vm, has.get(vm.name), used[vm.name])) for vm in wanted.vms)
    return replace(wanted, vms=tuple(vms), links=tuple(links))


def _enough(vm: DesignedVM, has: int | None, highest: int) -> int:
    """Return the present number of interfaces where it is enough, else that of the file."""
    return has if has is not None and has >= highest else max(vm.nics, highest)


def _has_the_vms(now: DesignedLink, wanted: DesignedLink) -> bool:
    return [end.vm for end in now.ends] == [end.vm for end in wanted.ends]


def _has_the_name(now: DesignedLink, wanted: DesignedLink) -> bool:
    return bool(now.name) and now.name == wanted.name


def _grew(now: DesignedLink, wanted: DesignedLink) -> bool:
    """Return whether one of two LANs has all VMs of the other."""
    before, after = {end.vm for end in now.ends}, {end.vm for end in wanted.ends}
    return now.is_lan and wanted.is_lan and (before <= after or after <= before)


def _kept_ends(now: DesignedLink, wanted: DesignedLink, taken: Collection[End]) -> dict[str, End]:
    """Return the present end of each VM that can keep it; none where a named end of the link says otherwise."""
    present = {end.vm: end for end in now.ends}
    kept: dict[str, End] = {}
    for end in wanted.ends:
        before = present.get(end.vm)
        if before and not end.named and before not in taken:
            kept[end.vm] = before
        elif before and end != before:
            return {}
    return kept


def _filled(ends: Iterable[End], kept: Mapping[str, End], taken: set[End]) -> tuple[End, ...]:
    """Return the ends: those of `kept`, and those without a named interface on the next free one, taken then."""
    found = []
    for end in ends:
        placed = kept.get(end.vm, end)
        if not placed.named and end.vm not in kept:
            placed = next(each for nic in count(1) if (each := End(end.vm, nic)) not in taken)
        taken.add(placed)
        found.append(placed)
    return tuple(found)


def _highest(links: Iterable[DesignedLink]) -> Counter[str]:
    """Return the highest linked interface of each VM."""
    used = Counter[str]()
    for end in (end for link in links for end in link.ends):
        used[end.vm] = max(used[end.vm], end.nic)
    return used


def same_links(now: Design, wanted: Design) -> dict[int, int]:
    """Return the places of links in `wanted` that are links of `now`, with their places there.

    Links are compared by their ends; then one with the same name, or a LAN that has more or fewer ends.
    """
    found: dict[int, int] = {}
    free = dict(enumerate(now.links))
    for is_same in (_has_the_ends, _has_the_name, _has_ends_of):
        for place, link in enumerate(wanted.links):
            number = next((number for number, each in free.items() if is_same(each, link)), None)
            if number is not None and place not in found:
                found[place] = number
                del free[number]
    return found


def _has_the_ends(now: DesignedLink, wanted: DesignedLink) -> bool:
    return {*now.ends} == {*wanted.ends}


def _has_ends_of(now: DesignedLink, wanted: DesignedLink) -> bool:
    """Return whether one of two LANs has all ends of the other. LANs with two names are two."""
    before, after = {*now.ends}, {*wanted.ends}
    return now.is_lan and wanted.is_lan and not (now.name and wanted.name) and (before <= after or after <= before)


def differences(now: Design, wanted: Design) -> list[Difference]:
    """Return the differences of VMs, of links, and of the slice's description and goals.

    `wanted` is settled.
    """
    vms = _compare("VM", *({vm.name: vm for vm in design.vms} for design in (now, wanted)))
    same, present = same_links(now, wanted), dict(enumerate(_named(now)))
    after = {same.get(place, -1 - place): link for place, link in enumerate(_named(wanted))}
    links = _compare("link", present, after)
    goals = _compare("goal", *({goal.name: goal for goal in design.goals} for design in (now, wanted)))
    bare = (replace(design, vms=(), links=(), goals=()) for design in (now, wanted))
    slices = _compare("slice", *({"": design} for design in bare))
    return [*vms, *links, *goals, *_order_of_goals(now, wanted), *slices]


def _order_of_goals(now: Design, wanted: Design) -> Iterator[Difference]:
    """Yield a difference where the goals that stay are in another order."""
    names, others = ({goal.name: None for goal in design.goals} for design in (now, wanted))
    if [name for name in names if name in others] != [name for name in others if name in names]:
        yield Difference("slice", wanted.name, Effect.LIVE, {"goals": "in another order"})


def summary(found: Iterable[Difference]) -> str:
    """Return the counts of differences by kind and effect, or `nothing to do`."""
    counts = Counter((each.kind, each.effect.value) for each in found)
    said = [f"{count} {kind if count == 1 else f'{kind}s'} {effect}" for (kind, effect), count in counts.items()]
    return ", ".join(said) or "nothing to do"


def _named(design: Design) -> list[DesignedLink]:
    """Return the links with their names filled in."""
    named = zip(design.links, design.link_names(), strict=True)
    return [replace(link, name=name) for link, name in named]


def _compare(kind: str, now: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> Iterator[Difference]:
    for key, part in now.items():
        if key not in wanted:
            yield Difference(kind, _name(part), Effect.REMOVED, {})
    for key, part in wanted.items():
        if key not in now:
            yield Difference(kind, _name(part), Effect.ADDED, {})
        elif changed := _changed(now[key], part):
            effect = max((_EFFECTS.get(name, Effect.LIVE) for name in changed), key=_ORDER.index)
            yield Difference(kind, _name(part), effect, changed)


def _name(part: Any) -> str:
    return str(part.name)


def _changed(now: Any, wanted: Any) -> dict[str, str]:
    """Return the fields that differ, with the old and the new value."""
    pairs = {
        each.name: (getattr(now, each.name), getattr(wanted, each.name)) for each in fields(wanted) if each.compare
    }
    return {name: f"{_shown(old)} -> {_shown(new)}" for name, (old, new) in pairs.items() if old != new}


def _shown(value: Any) -> str:
    """Return a value in few words: large ones are not repeated."""
    if not value and not isinstance(value, bool):
        return "none"
    match value:
        case bool():
            return "yes" if value else "no"
        case Seed():
            return "another one"
        case tuple():
            return ", ".join(map(_shown, value))
        case Mapping():
            return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    return str(value)

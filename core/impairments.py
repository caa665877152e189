"""Impairments of a link: what an end receives later, slower or not at all. Values are texts, as in a slice file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from core import formats
from core.records import Recorded, key, value
from core.rule import Rule, text

KINDS = ("rate", "delay", "jitter", "loss", "profile")
"""The kinds of impairments, in the order of a slice file."""

Units = Mapping[str, float]

RATES: Units = MappingProxyType({"kbit": 1, "mbit": 1e3, "gbit": 1e6})
TIMES: Units = MappingProxyType({"ms": 1, "us": 1e-3, "s": 1e3})
SHARES: Units = MappingProxyType({"%": 1})
"""The units of values. The first one is that in which bounds are."""

MOST_KBIT, MOST_MS = 1e8, 60_000.0

_MEASURE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(\D{1,5})")


def amount(measure: str, units: Units) -> float:
    """Return a value such as `2.5mbit` in the first unit of `units`; raise `ValueError` for another text."""
    found = _MEASURE.fullmatch(measure)
    if not found or found[2] not in units:
        raise ValueError(f"{measure!r} is no number with a unit")
    return float(found[1]) * units[found[2]]


def _measure(units: Units, least: float, most: float) -> Rule:
    def check(value: str) -> bool:
        try:
            return least <= amount(value, units) <= most
        except ValueError:
            return False

    unit = next(iter(units))
    return text(check, f"a number with its unit, from {least:.10g}{unit} to {most:.10g}{unit}")


_RATE, _TIME, _SHARE = _measure(RATES, 1, MOST_KBIT), _measure(TIMES, 0, MOST_MS), _measure(SHARES, 0, 100)


class Impairment(Recorded):
    """The impairments of what one end of a link receives; each is a text or None."""

    vm_id: int = key(formats.ID)
    rate: str | None = key(_RATE, default=None, brief=True)
    delay: str | None = key(_TIME, default=None, brief=True)
    jitter: str | None = key(_TIME, default=None, brief=True)
    loss: str | None = key(_SHARE, default=None, brief=True)
    profile: str | None = key(formats.PROFILE_NAME, default=None, brief=True)

    def __init__(self, vm_id: int) -> None:
        self.vm_id = vm_id


@value
class Profile(Recorded):
    """A named set of impairments; each is a text or None."""

    rate: str | None = key(_RATE, default=None, brief=True)
    delay: str | None = key(_TIME, default=None, brief=True)
    jitter: str | None = key(_TIME, default=None, brief=True)
    loss: str | None = key(_SHARE, default=None, brief=True)


BUILT_IN: Mapping[str, Profile] = MappingProxyType(
    {
        "dsl": Profile(rate="16mbit", delay="10ms", jitter="2ms"),
        "4g": Profile(rate="20mbit", delay="25ms", jitter="10ms", loss="0.1%"),
        "wifi": Profile(rate="50mbit", delay="2ms", jitter="2ms", loss="0.5%"),
        "satellite": Profile(rate="10mbit", delay="300ms", jitter="10ms"),
        "intercontinental": Profile(delay="80ms", jitter="1ms"),
        "lossy": Profile(loss="5%"),
    }
)
"""The profiles that every cloud has; `profiles` of the settings adds to them, and replaces those of the same name."""


class Quality(NamedTuple):
    """The impairments of an end as numbers: kbit/s, milliseconds, and a share in percent; 0 is none."""

    rate: float = 0
    delay: float = 0
    jitter: float = 0
    loss: float = 0


def quality_of(impairment: Impairment, profiles: Mapping[str, Profile]) -> Quality:
    """Return the shape of an end: its own values, or else those of its profile."""
    profile = profiles.get(impairment.profile or "", Profile())

    def number(kind: str, units: Units) -> float:
        found = getattr(impairment, kind) or getattr(profile, kind)
        return amount(found, units) if found else 0

    return Quality(number("rate", RATES), number("delay", TIMES), number("jitter", TIMES), number("loss", SHARES))

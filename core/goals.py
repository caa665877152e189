"""Goals of a slice: what has to work in it. They are kept as data; nothing here runs them."""

from __future__ import annotations

from core.formats import LINK_NAME, one_line
from core.records import Recorded, key, sequence, value
from core.rule import FLAG, one_of, some_of, whole

CHECKS = ("booted", "lease", "sees", "ping", "tcp", "http", "dns", "refuses", "run")
"""The kinds of goals."""

OUTSIDE = "outside"
"""The `source` of a probe that is behind the gateway of the internet VLAN."""

MOST_GOALS = 200
MOST_TARGETS = 1000
MOST_POINTS = 1000
MOST_SECONDS = 3600
DEFAULT_SECONDS = 60
LONGEST_TARGET = 1000
LONGEST_PATTERN = 200
LONGEST_SENTENCE = 300
_LONGEST_PLACE = 64


@value
class Goal(Recorded):
    """A goal. `check` is its kind, `targets` are the VMs of `booted`, or the one target of another kind.

    `on` is the VM of `run` or the interface of `sees`; `source` is the link of a probe, its name or an interface.
    A goal is tried for `within` seconds. `expect` is a pattern of `grep -E` for the output of `run`.
    """

    name: str = key(LINK_NAME)
    check: str = key(one_of(*CHECKS))
    targets: tuple[str, ...] = sequence(some_of(one_line(LONGEST_TARGET), 1, MOST_TARGETS))
    on: str = key(one_line(_LONGEST_PLACE), default="", brief=True)
    source: str = key(one_line(_LONGEST_PLACE), default="", brief=True)
    expect: str = key(one_line(LONGEST_PATTERN), default="", brief=True)
    within: int = key(whole(1, MOST_SECONDS), default=DEFAULT_SECONDS, brief=True)
    points: int = key(whole(0, MOST_POINTS), default=1, brief=True)
    when_met: str = key(one_line(LONGEST_SENTENCE), default="", brief=True)
    when_not_met: str = key(one_line(LONGEST_SENTENCE), default="", brief=True)
    stop: bool = key(FLAG, default=False, brief=True)

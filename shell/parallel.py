"""Words for scripts that call `beside` (`functions/beside.sh`): one function for many objects side by side. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def grouped(groups: Iterable[Sequence[str]]) -> list[str]:
    """Return the words of each object, in the form that `beside` reads."""
    return [word for group in groups for word in (str(len(group)), *group)]

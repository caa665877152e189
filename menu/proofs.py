"""What doctor and isolation proof give, as protocols, so that the menu depends on none of their code."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol


class Finding(Protocol):
    """Something that is not as it should be."""

    @property
    def code(self) -> str:
        """What kind of thing it is, as `doctor --help` lists them."""

    @property
    def severity(self) -> str:
        """`error` or `warning`."""

    @property
    def sentence(self) -> str:
        """What is wrong, and where."""

    @property
    def advice(self) -> str:
        """What to do."""

    def record(self) -> object:
        """It, for JSON."""


class Diagnosis(Protocol):
    """What the doctor found, and what it removed."""

    @property
    def findings(self) -> Sequence[Finding]:
        """All that is wrong now."""

    @property
    def unseen(self) -> Sequence[str]:
        """The hosts that could not be looked at."""

    @property
    def removable(self) -> Sequence[str]:
        """What would be removed."""

    @property
    def removed(self) -> Sequence[str]:
        """What was removed."""

    @property
    def not_removed(self) -> Sequence[str]:
        """What could not be removed, and why."""


class Doctor(Protocol):
    """Who finds out what is wrong; methods raise `errors.CloudError`."""

    def examine(self) -> Diagnosis:
        """All that is wrong."""

    def fix(self, agreed: Collection[str] | None = None) -> Diagnosis:
        """The same after what is removable was removed; of `agreed`, where that is given, and of nothing else."""


class Breach(Protocol):
    """Where a property of isolation does not hold."""

    @property
    def host(self) -> str:
        """Where."""

    @property
    def sentence(self) -> str:
        """What, in words."""


class Property(Protocol):
    """A property of isolation."""

    @property
    def title(self) -> str:
        """What has to hold."""

    @property
    def checked(self) -> int:
        """How many times it was looked at."""

    @property
    def breaches(self) -> Sequence[Breach]:
        """Where it does not hold."""


class Verdict(Protocol):
    """What the isolation proof found."""

    @property
    def properties(self) -> Sequence[Property]:
        """Each with its breaches."""

    @property
    def unseen(self) -> Sequence[str]:
        """The hosts that could not be looked at."""

    @property
    def breaches(self) -> int:
        """How many."""


class Prover(Protocol):
    """Who proves isolation."""

    def prove(self) -> Verdict:
        """All properties on all hosts."""

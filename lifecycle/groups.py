"""The groups of use-cases that the API offers as attributes, each imported at its first use."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from lifecycle.use_cases import SliceUseCases

if TYPE_CHECKING:
    from accounts.keys import PublicKeys
    from inspection.doctor import Doctor
    from inspection.isolation.prover import Prover
    from lifecycle.designs import Designs
    from lifecycle.edits import Edits
    from lifecycle.fences import Fences
    from lifecycle.hosts import Hosts
    from lifecycle.images import Images
    from lifecycle.power import Power
    from lifecycle.reach import Reach
    from lifecycle.readiness import Readiness
    from lifecycle.snapshots import Snapshots


class Groups(SliceUseCases):
    """The groups of use-cases. The menu opens without their modules."""

    def warning_at_start(self) -> str:
        """Return a warning about the database for operators, or an empty string."""
        return self._database.warning()

    @functools.cached_property
    def edits(self) -> Edits:
        """Return the use-cases that change designs."""
        from lifecycle.edits import Edits  # noqa: PLC0415

        return Edits(self._engine)

    @functools.cached_property
    def designs(self) -> Designs:
        """Return the use-cases that read whole designs and make slices of them."""
        from lifecycle.designs import Designs  # noqa: PLC0415

        return Designs(self._engine)

    @functools.cached_property
    def doctor(self) -> Doctor:
        """Return the use-case that compares the hosts with the database."""
        from inspection.doctor import Doctor  # noqa: PLC0415

        return Doctor(self._database, self._connect, self._audit)

    @functools.cached_property
    def fences(self) -> Fences:
        """Return the use-case that raises the fences of claims above those that hosts have seen."""
        from lifecycle.fences import Fences  # noqa: PLC0415

        return Fences(self._database, self._connect, self._audit)

    @functools.cached_property
    def hosts(self) -> Hosts:
        """Return the use-case that writes off workers that are dead for good."""
        from lifecycle.hosts import Hosts  # noqa: PLC0415

        return Hosts(self._database, self._discovery, self._connect, self._audit)

    @functools.cached_property
    def images(self) -> Images:
        """Return the use-cases of base images."""
        from lifecycle.images import Images  # noqa: PLC0415

        return Images(self._engine)

    @functools.cached_property
    def power(self) -> Power:
        """Return the use-cases that switch VMs off and on, and reset them."""
        from lifecycle.power import Power  # noqa: PLC0415

        return Power(self._engine)

    @functools.cached_property
    def reach(self) -> Reach:
        """Return the use-cases that reach VMs from outside."""
        from lifecycle.reach import Reach  # noqa: PLC0415

        return Reach(self._engine)

    @functools.cached_property
    def keys(self) -> PublicKeys:
        """Return the use-cases of a user's public keys."""
        from accounts.keys import PublicKeys  # noqa: PLC0415

        return PublicKeys(self._database, self._audit, self._operators)

    @functools.cached_property
    def snapshots(self) -> Snapshots:
        """Return the use-cases of snapshots."""
        from lifecycle.snapshots import Snapshots  # noqa: PLC0415

        return Snapshots(self._engine)

    @functools.cached_property
    def readiness(self) -> Readiness:
        """Return the use-cases that tell when VMs are ready."""
        from lifecycle.readiness import Readiness  # noqa: PLC0415

        return Readiness(self._engine)

    @functools.cached_property
    def prover(self) -> Prover:
        """Return the use-case that proves isolation."""
        from inspection.isolation.prover import Prover  # noqa: PLC0415

        return Prover(self._database, self._connect)

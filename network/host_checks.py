"""The checks of the hosts of a slice: their programs, their bridge, and the wire between them. Returns steps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from core.inventory import Inventory
from models import Slice
from network import wire
from network.checks import check_bridge, check_programs
from remote.plan import Step


class HostChecks:
    """The planner of the checks of a slice's hosts. It makes no objects, so it has nothing to undo.

    `programs`: those that workers need, and those that the network node needs. `run` marks the frames that prove the
    wire, so that frames of other runs do not count. The plan awaits no frame from `absent` hosts.
    """

    def __init__(
        self,
        inventory: Inventory,
        programs: tuple[Sequence[str], Sequence[str]],
        run: int,
        absent: Collection[str],
    ) -> None:
        self._inventory = inventory
        self._of_workers, self._of_node = programs
        self._run = run
        self._absent = absent

    def preflight(self, slice_: Slice, *, new: bool) -> Iterable[Step]:  # noqa: ARG002 - no host belongs to a slice
        """Yield read-only checks of programs and bridge on each host of the slice."""
        programs = {worker: list(self._of_workers) for worker in slice_.workers}
        if slice_.served_links or slice_.uses_internet:
            programs.setdefault(self._inventory.network_node, []).extend(self._of_node)
        for host, names in programs.items():
            yield check_programs(host, list(dict.fromkeys(names)))
            yield check_bridge(self._inventory, slice_, host)

    def prepare(self, slice_: Slice) -> Iterable[Step]:
        """Return the steps that send frames."""
        return wire.send(self._inventory.bridge, self._spans(slice_), self._run)

    def launch(self, slice_: Slice) -> Iterable[Step]:
        """Return the steps that send again and wait for the frames of other hosts."""
        return wire.receive(self._inventory.bridge, self._spans(slice_), self._run)

    def _spans(self, slice_: Slice) -> dict[int, tuple[str, ...]]:
        return wire.spans(self._inventory, slice_, self._absent)

    @staticmethod
    def verify(_slice: Slice) -> Iterable[Step]:
        """Return no step: the other planners check their own objects."""
        return ()

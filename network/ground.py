"""The hosts themselves as a part of a deployment: their programs, their bridge, and the wire between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from core.inventory import Inventory
from models import Slice
from network import wire
from network.checks import check_bridge, check_programs
from remote.plan import Step


class Ground:
    """Plans what a slice needs of its hosts. Nothing of it is made, so there is nothing to undo.

    `programs` are those of workers and of the network node. `run` tells the frames that prove the wire from those of
    other runs; of hosts that are `absent` no frame is expected.
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
        if slice_.links or slice_.uses_internet:
            programs.setdefault(self._inventory.network_node, []).extend(self._of_node)
        for host, names in programs.items():
            yield check_programs(host, list(dict.fromkeys(names)))
            yield check_bridge(self._inventory, slice_, host)

    def prepare(self, slice_: Slice) -> Iterable[Step]:
        """Return the steps that send frames."""
        return wire.send(wire.spans(self._inventory, slice_, self._absent), self._run)

    def launch(self, slice_: Slice) -> Iterable[Step]:
        """Return the steps that send again and wait for the frames of other hosts."""
        return wire.receive(wire.spans(self._inventory, slice_, self._absent), self._run)

    @staticmethod
    def verify(_slice: Slice) -> Iterable[Step]:
        """Return no step: the VMs are checked by their manager."""
        return ()

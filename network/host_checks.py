"""The hosts of a slice: programs, bridge, the tunnel and the proof of the wire between them. Returns steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from core.inventory import Inventory
from core.underlay import Tunnel
from models import Slice
from network import tunnel, wire
from network.checks import check_bridge, check_programs
from remote.plan import Step


class HostChecks:
    """The planner of the checks of a slice's hosts, and of the tunnel between them. It makes nothing that is undone.

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
        yield from self._on_ends(slice_, tunnel.check_underlay)

    def prepare(self, slice_: Slice) -> Iterable[Step]:
        """Yield the steps that make the tunnel, and those that send frames."""
        yield from self._on_ends(slice_, tunnel.make)
        yield from wire.send(self._inventory.bridge, self._spans(slice_), self._run, self._length)

    def launch(self, slice_: Slice) -> Iterable[Step]:
        """Return the steps that send again and wait for the frames of other hosts."""
        inventory = self._inventory
        return wire.receive(inventory.bridge, self._spans(slice_), self._run, self._length, inventory.underlay)

    def verify(self, slice_: Slice) -> Iterable[Step]:
        """Return the checks of the tunnel; the other planners check their own objects."""
        return self._on_ends(slice_, tunnel.check)

    @property
    def _length(self) -> int:
        """Return the length of frames that prove the wire: through a tunnel the longest ones have to pass."""
        return wire.LONGEST if self._inventory.tunnel else wire.SHORTEST

    def _spans(self, slice_: Slice) -> dict[int, tuple[str, ...]]:
        return wire.spans(self._inventory, slice_, self._absent)

    def _on_ends(self, slice_: Slice, step: Callable[[Tunnel, str], Step]) -> Iterator[Step]:
        """Yield the step for each host at which the tunnel carries VLANs of the slice."""
        if ends := self._inventory.tunnel:
            for host in wire.hosts_of(self._spans(slice_)):
                yield step(ends, host)

"""The use-cases of power: start, stop and restart VMs of a deployed slice, and reset them to clean disks."""

from __future__ import annotations

from collections.abc import Collection

from accounts import rights
from accounts.use_cases import UseCase
from allocation.placement import require_room
from core.errors import Refused
from database import State
from deployment import DeploymentAPI
from lifecycle.power_change import RESET, RESTART, START, STOP, STOP_NOW, Act, PowerChange
from lifecycle.use_cases import SliceUseCases
from machines.seed import takes_seed
from models import VM, Slice
from remote.events import Listener, ignore
from remote.plan import Plan

VERBS = {"start": START, "stop": STOP, "stop --now": STOP_NOW, "restart": RESTART, "reset": RESET}
"""The acts by their verbs."""


class Power(SliceUseCases):
    """Switches VMs of a slice. `vm_ids` are those meant; none means all VMs of the slice."""

    @UseCase("start", announced=True)
    def start(self, actor: str, slice_id: int, vm_ids: Collection[int] = (), listen: Listener = ignore) -> list[str]:
        """Switch VMs on, where their workers have room, and return what was done, in sentences."""
        return self._carry_out(actor, slice_id, vm_ids, START, listen)

    @UseCase("stop", announced=True)
    def stop(
        self,
        actor: str,
        slice_id: int,
        vm_ids: Collection[int] = (),
        listen: Listener = ignore,
        *,
        now: bool = False,
    ) -> list[str]:
        """Press the power buttons of VMs, and switch those off that do not obey in time; `now`: at once."""
        return self._carry_out(actor, slice_id, vm_ids, STOP_NOW if now else STOP, listen)

    @UseCase("restart", announced=True)
    def restart(self, actor: str, slice_id: int, vm_ids: Collection[int] = (), listen: Listener = ignore) -> list[str]:
        """Stop VMs and start them again; those that were stopped are started too."""
        return self._carry_out(actor, slice_id, vm_ids, RESTART, listen)

    @UseCase("reset", announced=True)
    def reset(self, actor: str, slice_id: int, vm_ids: Collection[int] = (), listen: Listener = ignore) -> list[str]:
        """Give VMs new disks from their base images, and start those that ran.

        Names, MACs, addresses, links and VNC ports stay. The marks of the disks are new.
        """
        return self._carry_out(actor, slice_id, vm_ids, RESET, listen)

    @UseCase()
    def plan(self, actor: str, slice_id: int, verb: str, vm_ids: Collection[int] = ()) -> Plan:
        """Return the plan of one of the acts in `VERBS`, without running it."""
        state = self._database.load()
        act, slice_ = VERBS[verb], rights.permitted(state, actor, slice_id)
        ids = _begin(state, slice_, act, vm_ids)
        return DeploymentAPI(state.inventory_of(slice_)).power_plan(slice_, act.switching(slice_, ids))

    def _carry_out(self, actor: str, slice_id: int, vm_ids: Collection[int], act: Act, listen: Listener) -> list[str]:
        if act.runs:
            self._discovery.refresh(lambda state: _workers_to_start(state, actor, slice_id, vm_ids))
        with self._change(actor, slice_id, listen) as (change, _):
            with self._database.transaction() as state:
                slice_ = rights.permitted(state, actor, slice_id)
                ids = _begin(state, slice_, act, vm_ids)
            return PowerChange(change).carry_out(slice_, act, ids)


def _begin(state: State, slice_: Slice, act: Act, vm_ids: Collection[int]) -> set[int]:
    """Record the beginning of an act, and return the ids of its VMs; raise `Refused` where it cannot be done."""
    rights.require_deployed(slice_)
    vms = rights.switchable(slice_, vm_ids)
    require_no_other(slice_, act, vms)
    if act.renews:
        _require_renewable(vms)
        slice_.keys = list(state.users[slice_.owner].keys) if any(map(takes_seed, vms)) else slice_.keys
    stopped = [vm for vm in vms if vm.stopped]
    if act.runs:
        require_room(stopped, state.inventory_of(slice_), state.workers)
    for vm in vms:
        act.begin(slice_, vm)
    state.recount()
    return {vm.vm_id for vm in vms}


def require_no_other(slice_: Slice, act: Act, vms: Collection[VM]) -> None:
    """Raise `Refused` where another change of power was not finished: this one would carry it out unasked."""
    if not all(vm in vms and act.repeats(vm) for vm in rights.switching(slice_)):
        rights.require_settled(slice_)


def _require_renewable(vms: Collection[VM]) -> None:
    """Raise `Refused` where a VM of an older file does not say what its disk is made from, or whose it is."""
    for vm in vms:
        if vm.image is None or vm.disk_id is None:
            raise Refused(f"{vm.name} was made by an older version, and cannot be reset; create its slice again")


def _workers_to_start(state: State, actor: str, slice_id: int, vm_ids: Collection[int]) -> list[str]:
    slice_ = rights.permitted(state, actor, slice_id)
    rights.require_deployed(slice_)
    vms = rights.switchable(slice_, vm_ids)
    return list(dict.fromkeys(vm.worker_ip for vm in vms if vm.stopped))

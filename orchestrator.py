"""The use-cases: each is one method of `OrchestratorAPI`, which returns `(True, value)` or `(False, sentence)`.

The sentence is a `Failure`: a text whose `error` is `Refused`, `CommandFailed`, `HostUnreachable` or another
`CloudError`. Each use-case reads the file, checks the rights of its user, and hands the work to `lifecycle/`, which
makes plans (`deployment.py`) and runs them (`remote/runner.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from accounts import rights
from accounts.accounts import Accounts
from accounts.audit import BY_OPERATOR, Audit, AuditEntry
from accounts.sessions import OpenSession, Sessions
from accounts.use_cases import UseCase
from core import passwords
from core.errors import Refused
from core.inventory import Worker
from core.results import Result
from core.status import SliceStatus
from database import State, Store
from deployment import DeploymentAPI
from lifecycle import losses
from lifecycle.consoles import Confirm, Consoles, never
from lifecycle.groups import Groups
from lifecycle.live_change import LiveChange, begun
from lifecycle.power_change import PowerChange, finishing
from lifecycle.requests import VMRequest, design_vm, empty_slice
from lifecycle.use_cases import Engine
from machines import credentials
from models import ADMIN, VM, Flavor, Link, Slice, User
from remote.console import Explained
from remote.events import Listener, ignore
from remote.host import Connected
from remote.images import require_fitting
from remote.plan import Plan
from storage.acts import OK

if TYPE_CHECKING:
    from inspection.isolation.prover import Verdict
    from inspection.summary import SliceProblems
    from remote.ssh import Connections

__all__ = ["OrchestratorAPI", "Result"]

MANAGER = "cloud@manager"
"""The manager as the documentation writes it, where the settings do not name it."""


class OrchestratorAPI(Groups):
    """The use-cases of a cloud. `connect` returns the host at an address; None means SSH with the file's settings."""

    def __init__(self, database: Store, connect: Callable[[str], Connected] | None = None) -> None:
        database.load()  # a fault in the file shows itself before the menu opens
        super().__init__(Engine(database, Audit(database), connect or _over_ssh(database)))
        self.accounts = Accounts(database, self._audit)
        self._sessions = Sessions(database, self._audit)

    def warning(self) -> str:
        """Return a one-time warning to display, or an empty string."""
        return self._audit.warning()

    @UseCase()
    def operate_for(self, actor: str) -> None:
        """Let the operator act for a user from now on: the audit log notes it with each act."""
        rights.require_user(self._database.load(), actor)
        self._operators.add(actor)
        self._audit.by = BY_OPERATOR

    # --- accounts, slices and workers ---------------------------------------------------------------------------------

    @UseCase()
    def authenticate(self, username: str, password: str) -> User:
        """Return the user with this name and password."""
        user = self.accounts.authenticate(username, password)
        (self._operators.add if user.role == ADMIN else self._operators.discard)(username)
        return user

    @property
    def idle_seconds(self) -> float:
        """Return the time without input after which a session ends."""
        return self._database.inventory.login.idle_seconds

    @UseCase()
    def open_session(self, username: str) -> OpenSession:
        """Take one of the account's places for sessions. Closing the session or ending the process frees it."""
        return self._sessions.open(username)

    @UseCase("run command")
    def open_command(self, actor: str) -> OpenSession:
        """Take a place of the account for one command of a restricted session."""
        rights.require_command(self._database.load(), actor)
        return self._sessions.open(actor)

    @UseCase()
    def command_address(self, actor: str) -> str:
        """Return the manager as the user writes it after ssh before a command; empty for users without commands."""
        state = self._database.load()
        with suppress(Refused):
            rights.require_commands(state, actor)
            return state.inventory.login.address or MANAGER
        return ""

    def needs_new_password(self, username: str, password: str) -> bool:
        """Return whether a correct password must be replaced before anything else, because it was shipped."""
        return self._database.inventory.login.shipped_passwords == "change" and passwords.is_shipped(username, password)

    @UseCase("change password")
    def change_password(self, actor: str, current: str, new: str) -> None:
        """Give the user a new password, if the current one is correct."""
        self.accounts.change_password(actor, current, new)

    @UseCase()
    def get_user(self, actor: str) -> User:
        """Return the user as the file has it now."""
        return rights.user_of(self._database.load(), actor)

    @UseCase()
    def most_slices(self, actor: str) -> int:
        """Return how many slices the user may have at a time."""
        state = self._database.load()
        return rights.user_of(state, actor).most_slices(state.inventory.login)

    @UseCase()
    def flavors(self, actor: str) -> dict[str, Flavor]:  # noqa: ARG002 - read by `UseCase`
        """Return the sizes that a VM can have, by name."""
        return self._database.load().all_flavors

    @UseCase()
    def list_slices(self, actor: str) -> list[Slice]:
        """Return the slices that the user may work on, oldest first: a student's own ones, all for an admin."""
        return rights.visible(self._database.load(), actor)

    @UseCase()
    def get_slice(self, actor: str, slice_id: int) -> Slice:
        """Return one slice that the user may work on."""
        return rights.permitted(self._database.load(), actor, slice_id)

    @UseCase()
    def find_slice(self, actor: str, word: str) -> Slice:
        """Return the slice that a user means by an id, a name, or the beginning of a name."""
        return rights.find(self._database.load(), actor, word)

    @UseCase()
    def discover_workers(self) -> dict[str, Worker]:
        """Measure all workers at once. A worker that does not answer in time is down."""
        return self._discovery.workers()

    @UseCase()
    def known_workers(self) -> dict[str, Worker]:
        """Return the workers with measurements of the last minute. Older ones are measured again."""
        return self._discovery.known()

    # --- designing ----------------------------------------------------------------------------------------------------

    @UseCase("create slice")
    def create_slice(self, actor: str, name: str = "", topology_type: str = "custom", realm: str = "") -> Slice:
        """Create an empty slice in design, in the first realm with room, with the next id whose pool is free."""
        if name:
            rights.check_name("slice", name)
        with self._database.transaction() as state:
            return empty_slice(state, actor, name, topology_type, realm)

    @UseCase("add VM")
    def add_vm_to_slice(
        self,
        actor: str,
        slice_id: int,
        name: str,
        flavor_name: str,
        data_interfaces_count: int = 1,
        internet_enabled: bool = False,
        listen: Listener = ignore,
    ) -> VM:
        """Design a VM, and make its overlay on its worker. If that fails, the VM is not recorded."""
        request = VMRequest(actor, slice_id, name, flavor_name, data_interfaces_count, internet_enabled)
        request.check()
        with self._change(actor, slice_id, listen) as (change, _):
            if flavor := change.state.all_flavors.get(flavor_name):
                require_fitting(flavor.image or "", flavor_name, flavor.size.disk_gb)
            self._discovery.refresh(lambda state: [design_vm(state, request).worker_ip])
            with self._database.transaction() as state:
                slice_ = rights.editable(state, actor, slice_id)
                with begun(state, slice_) if slice_.is_running else nullcontext():
                    vm = design_vm(state, request)
            if slice_.before:
                return LiveChange(change).carry_out(slice_).vms[-1]
            change.make_disks(slice_, [vm])
            return vm

    @UseCase("create link")
    def create_link(
        self,
        actor: str,
        slice_id: int,
        vm1_id: int,
        vm1_interface: str,
        vm2_id: int,
        vm2_interface: str,
        listen: Listener = ignore,
    ) -> Link:
        """Join two unconnected data interfaces of two VMs by the next VLAN of the slice's pool."""

        def connect(state: State) -> Link:
            slice_ = rights.editable(state, actor, slice_id)
            for vm in rights.pending(slice_):
                if vm.vm_id in (vm1_id, vm2_id):
                    raise Refused(f"VM {vm.vm_id} ({vm.name}) is still being added; link it when that is done")
            reserved = state.inventory_of(slice_).internet.vlan_id
            return slice_.connect(vm1_id, vm1_interface, vm2_id, vm2_interface, reserved=reserved)

        with self._database.transaction() as state:
            if not rights.editable(state, actor, slice_id).is_running:
                return connect(state)
        with self._change(actor, slice_id, listen) as (change, _):
            with self._database.transaction() as state:
                slice_ = rights.editable(state, actor, slice_id)
                with begun(state, slice_):
                    link = connect(state)
            LiveChange(change).carry_out(slice_)
            return link

    # --- deploying and deleting ---------------------------------------------------------------------------------------

    @UseCase()
    def plan_slice(self, actor: str, slice_id: int) -> Plan:
        """Return the plan of a deployment, without running it."""
        state = self._database.load()
        slice_ = rights.permitted(state, actor, slice_id)
        deployment = DeploymentAPI(state.inventory_in_use.of_realm(slice_.realm))
        return deployment.deploy_plan(slice_, new=slice_.status == SliceStatus.DESIGN)

    @UseCase()
    def plan_deletion(self, actor: str, slice_id: int) -> Plan:
        """Return the plan of a deletion, without running it."""
        state = self._database.load()
        slice_ = rights.permitted(state, actor, slice_id)
        return DeploymentAPI(state.inventory_in_use.of_realm(slice_.realm)).deletion_plan(slice_)

    @UseCase("deploy", announced=True)
    def deploy_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> Slice:
        """Deploy the slice, or leave every host as it was."""
        with self._change(actor, slice_id, listen) as (change, found):
            if found.status == SliceStatus.DESIGN and found.left:
                change.take_back_deployment(found)
            with self._database.transaction() as state:
                slice_ = rights.permitted(state, actor, slice_id)
                rights.require_deployable(slice_)
                rights.require_quota_for_pending(state, slice_)
                losses.require_placed(state, slice_)
                slice_.status = SliceStatus.DEPLOYING
                credentials.renew(slice_, slice_.vms, state.users[slice_.owner].keys)
            return change.deploy(slice_)

    @UseCase("repair slice", announced=True)
    def repair_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> list[str]:
        """Bring back missing objects of a running slice, and return their names."""
        with self._change(actor, slice_id, listen) as (change, slice_):
            rights.require_running(slice_)
            return change.repair(slice_)

    @UseCase()
    def problems(self, actor: str, slice_id: int | None = None) -> dict[int, SliceProblems]:
        """Return sentences about the problems of the user's running slices, or of this one, by slice id.

        A slice that is being changed is left out. The other ends of links of a VM that powered itself off lose their
        carrier, as they do where it is stopped.
        """
        from inspection.codes import BY_GUEST  # noqa: PLC0415
        from inspection.realms import Inspectors  # noqa: PLC0415
        from inspection.summary import summary  # noqa: PLC0415

        state = self._database.load()
        slices = rights.visible(state, actor) if slice_id is None else [rights.permitted(state, actor, slice_id)]
        found = Inspectors(self._database, state.inventory_in_use, self._connect).problems(slices)
        for number, findings in found.items():
            if ended := {finding.vm_id for finding in findings if finding.code == BY_GUEST}:
                self._take_carriers(number, ended)
        for_admin = state.users[actor].role == ADMIN
        return {slice_id: summary(each, for_admin=for_admin) for slice_id, each in found.items() if each}

    def _take_carriers(self, slice_id: int, ended: Collection[int | None]) -> None:
        """Take the carrier from the other ends of links of VMs that ended. A session that changes the slice does so."""
        with suppress(Refused), self._changes.of(slice_id, ignore) as change:
            if slice_ := change.state.slices.get(slice_id):  # another session may have deleted it meanwhile
                change.runner.run(change.deployment.carriers_plan(slice_, ended), keep_going=True)

    @UseCase()
    def prove_isolation(self, actor: str) -> Verdict:
        """Prove isolation. A student sees the breaches of own slices, and counts of the others."""
        rights.user_of(self._database.load(), actor)
        with self._database.claim_proof(actor):
            return self.prover.prove_for(actor)

    @UseCase("delete", announced=True)
    def delete_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> Slice:
        """Remove all objects of the slice and no others. The slice's `left` keeps those that could not be removed."""
        with self._change(actor, slice_id, listen) as (change, _):
            with self._database.transaction() as state:
                slice_ = rights.permitted(state, actor, slice_id)
                slice_.status = SliceStatus.DELETING
            change.delete(slice_)
            return slice_

    @property
    def console_exits(self) -> tuple[str, ...]:
        """Return the keys that leave a console, as the settings name them."""
        return self._database.inventory.console.exits

    @UseCase("open console")
    def open_console(self, actor: str, vm_id: int, confirm: Confirm = never) -> Explained:
        """Open the serial console of a running VM. `confirm` asks whether to take it over from another user."""
        state = self._database.load()
        slice_ = next((s for s in rights.visible(state, actor) if s.vm(vm_id)), None)
        vm = slice_.vm(vm_id) if slice_ else None
        if not slice_ or not vm:
            raise Refused(f"You have no VM {vm_id}; your slices show the ids")
        rights.require_runs(slice_, vm)
        may_take_over = rights.may_take_over(state, actor, slice_)
        consoles = Consoles(DeploymentAPI(state.inventory_of(slice_)), self._connect)
        console, taken_from = consoles.open(actor, slice_, vm, confirm if may_take_over else None)
        if taken_from:
            self._audit.write(AuditEntry(actor, f"take console from {taken_from}", slice_.slice_id, vm_id), OK, 0.0)
        return console

    # --- changes that a manager did not finish ------------------------------------------------------------------------

    @UseCase()
    def unfinished(self, actor: str) -> list[Slice]:
        """Return the user's slices with an unfinished change on which no session works."""
        slices = rights.visible(self._database.load(), actor)
        return [s for s in slices if rights.is_unfinished(s) and not self._database.is_claimed(s.slice_id)]

    @UseCase("finish", announced=True)
    def finish_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> str:
        """Finish an unfinished change. Each step checks which of its objects are there already."""
        with self._change(actor, slice_id, listen) as (change, slice_):
            if slice_.status == SliceStatus.DELETING:
                change.delete(slice_)
                return f"Slice {slice_id} is deleted"
            if slice_.status == SliceStatus.DEPLOYING:
                change.deploy(slice_, resumed=True)
                return f"Slice {slice_id} is running"
            rights.require_unfinished(slice_)
            if slice_.before:
                LiveChange(change).carry_out(slice_, resumed=True)
                return f"Slice {slice_id} is changed"
            if rights.switching(slice_):
                told = PowerChange(change).carry_out(slice_, finishing(slice_))
                return f"Slice {slice_id} is running; {'; '.join(told)}"
            if slice_.status != SliceStatus.CREATING:
                rights.require_quota_for_pending(change.state, slice_)
            change.make_disks(slice_, rights.pending(slice_), resumed=True)
            return f"Slice {slice_id} is in design, its VMs are complete"

    @UseCase("take back", announced=True)
    def take_back_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> str:
        """Roll back an unfinished change: a deployment, or the VMs that were being added."""
        with self._change(actor, slice_id, listen) as (change, slice_):
            if slice_.status == SliceStatus.DELETING:
                raise Refused(f"Slice {slice_id} is being deleted, which cannot be taken back; finish it")
            rights.require_unfinished(slice_)
            if slice_.before:
                LiveChange(change).take_back(slice_)
                return f"Slice {slice_id} is running, as before the change"
            if rights.switching(slice_):
                PowerChange(change).take_back(slice_)
                return f"Slice {slice_id} is running, its VMs as before"
            if slice_.status == SliceStatus.DEPLOYING:
                change.take_back_deployment(slice_)
            if pending := rights.pending(slice_):
                change.forget_vms(slice_, pending)
            if slice_.status == SliceStatus.CREATING:
                return f"Slice {slice_id} is gone, as if it had not been created"
            return f"Slice {slice_id} is in design"


def _over_ssh(database: Store) -> Callable[[str], Connected]:
    """Return a function that returns hosts over SSH. It imports paramiko at its first call.

    Hosts are reached with the settings that were last read, so that a fault of the file stops no rollback.
    """

    @functools.cache
    def connections() -> Connections:
        from remote.ssh import Connections  # noqa: PLC0415

        return Connections(database.inventory.ssh, database.shared_keys)

    def connect(address: str) -> Connected:
        connections().use(database.inventory.ssh)
        return connections().host(address)

    return connect

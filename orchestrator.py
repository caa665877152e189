"""The use-cases: what a user can wish for, each as one method of `OrchestratorAPI`.

Here three meet that know nothing of each other: the database (what shall be), the plans (how) and the runner (done).
Every method that can fail answers `(True, value)` or `(False, "sentence")`; no failure we foresaw leaves it otherwise.

What changes hosts is in `lifecycle/changes.py`; here is who may wish for it, and when.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, Protocol, TypeVar

from accounts import rights
from accounts.accounts import Accounts
from accounts.audit import OK, UNKNOWN, Audit, Entry
from accounts.sessions import Session, Sessions
from allocation.ids import next_slice_id
from core import passwords
from core.errors import CloudError, FileFault, Refused
from core.inventory import Worker
from core.status import SliceStatus, VMStatus
from database import Database
from deployment import DeploymentAPI
from lifecycle import losses
from lifecycle.changes import Change, Changes
from lifecycle.consoles import Confirm, Consoles, Joined, never
from lifecycle.design import VMRequest, design_vm
from lifecycle.discovery import Discovery
from models import (
    ADMIN,
    VM,
    Link,
    Record,
    Slice,
    User,
)
from remote.console import Explained
from remote.events import Event, Listener, StageStarted, ignore
from remote.images import require_fitting
from remote.plan import Plan
from remote.runner import Host, Runner

if TYPE_CHECKING:
    from inspection.doctor import Doctor
    from inspection.isolation.prover import Prover, Verdict
    from inspection.summary import SliceProblems
    from lifecycle.hosts import Hosts
    from remote.ssh import Connections
    from topology.design import Design

P = ParamSpec("P")
T = TypeVar("T")
Result = tuple[Literal[True], T] | tuple[Literal[False], str]


class Connected(Host, Joined, Protocol):
    """A host that can also join standard streams with a program."""


RECORDED = {
    "change_password": "change password",
    "create_slice": "create slice",
    "add_vm_to_slice": "add VM",
    "create_link": "create link",
    "deploy_slice": "deploy",
    "repair_slice": "repair slice",
    "delete_slice": "delete",
    "finish_slice": "finish",
    "take_back_slice": "take back",
    "open_console": "open console",
}
"""What the audit log calls the use-cases that change something or open a console; those that only look are not in it.

Logins and what an operator does to users is recorded by the accounts themselves."""

LONG = {"deploy_slice", "repair_slice", "delete_slice", "finish_slice", "take_back_slice"}
"""Also recorded when they begin to change hosts: their manager may not live to see the end."""


def _answers(
    method: Callable[Concatenate[OrchestratorAPI, P], T],
) -> Callable[Concatenate[OrchestratorAPI, P], Result[T]]:
    """The one boundary at which failures become sentences, and wishes lines of the audit log."""
    signature = inspect.signature(method)
    name = method.__name__

    @functools.wraps(method)
    def answer(self: OrchestratorAPI, /, *args: P.args, **kwargs: P.kwargs) -> Result[T]:
        bound = signature.bind(self, *args, **kwargs)
        given = bound.arguments
        actor = str(given.get("actor", UNKNOWN))
        entry = Entry(actor, RECORDED.get(name, ""), given.get("slice_id"), given.get("vm_id"))
        try:
            if not entry.action:
                return True, method(self, *args, **kwargs)
            with self._audit.noted(entry):
                if name in LONG:
                    given["listen"] = self._announcing(entry, given.get("listen", ignore))
                value = method(*bound.args, **bound.kwargs)
                self._fill_in(entry, value)
                return True, value
        except FileFault as fault:
            if not entry.action:
                self._audit.write(replace(entry, action=name.replace("_", " ")), str(fault), 0.0, refused=True)
            return False, str(fault) if actor in self._operators else fault.public
        except CloudError as error:
            return False, str(error)

    return answer


class OrchestratorAPI:
    """The cloud, as its menu sees it. `connect` gives the host of an address; None means SSH as the file says."""

    def __init__(self, database: Database, connect: Callable[[str], Connected] | None = None) -> None:
        database.load()  # a fault in the file shows itself before the menu opens
        self._database = database
        self._connect = connect or _over_ssh(database)
        self._changes = Changes(database, self._connect)
        self._audit = Audit(database.path)
        self._discovery = Discovery(database, Runner(self._connect))
        self._operators: set[str] = set()  # kept here, as it has to be known when the file cannot be read any more
        self.accounts = Accounts(database, self._audit)
        self._sessions = Sessions(database, self._audit)

    # Who looks at hosts knows all that can be on them: imported when somebody asks, and not for the menu to open.

    @functools.cached_property
    def doctor(self) -> Doctor:
        """Who compares the hosts with the database."""
        from inspection.doctor import Doctor  # noqa: PLC0415

        return Doctor(self._database, self._connect, self._audit)

    @functools.cached_property
    def hosts(self) -> Hosts:
        """Return the use-case that writes off workers which are dead for good."""
        from lifecycle.hosts import Hosts  # noqa: PLC0415

        return Hosts(self._database, self._discovery, self._connect, self._audit)

    @functools.cached_property
    def prover(self) -> Prover:
        """Who proves isolation."""
        from inspection.isolation.prover import Prover  # noqa: PLC0415

        return Prover(self._database, self._connect)

    def warning(self) -> str:
        """What whoever sits here should be told once, besides answers; mostly nothing."""
        return self._audit.warning()

    def _announcing(self, entry: Entry, listen: Listener) -> Listener:
        """Return a listener that also writes that `entry` begins, before the first command goes out."""

        def heard(event: Event) -> None:
            if isinstance(event, StageStarted):
                self._audit.begin(entry)
            listen(event)

        return heard

    def _fill_in(self, entry: Entry, value: object) -> None:
        """What of slice and VM an entry only knows now that it is done."""
        match value:
            case Slice():
                entry.slice_id = value.slice_id
            case VM():
                entry.vm_id = value.vm_id
        if entry.vm_id and entry.slice_id is None:
            visible = rights.visible(self._database.load(), entry.actor)
            entry.slice_id = next((slice_.slice_id for slice_ in visible if slice_.vm(entry.vm_id)), None)

    # --- who, and what there is ---------------------------------------------------------------------------------------

    @_answers
    def authenticate(self, username: str, password: str) -> User:
        """The user of that name and password."""
        user = self.accounts.authenticate(username, password)
        (self._operators.add if user.role == ADMIN else self._operators.discard)(username)
        return user

    @property
    def idle_seconds(self) -> float:
        """Return the time without input after which a session ends."""
        return self._database.inventory.login.idle_seconds

    @_answers
    def open_session(self, username: str) -> Session:
        """Take one of the account's places for sessions, until it is closed or the process ends."""
        return self._sessions.open(username)

    def needs_new_password(self, username: str, password: str) -> bool:
        """Whether a password that was right has to be replaced before anything else, as everybody knows it."""
        return self._database.inventory.login.shipped_passwords == "change" and passwords.is_shipped(username, password)

    @_answers
    def change_password(self, actor: str, current: str, new: str) -> None:
        """Give the user a new password, if the current one is right."""
        self.accounts.change_password(actor, current, new)

    @_answers
    def get_user(self, actor: str) -> User:
        """The user as the file has them now."""
        return rights.user_of(self._database.load(), actor)

    @_answers
    def most_slices(self, actor: str) -> int:
        """Return how many slices the user may have at a time."""
        state = self._database.load()
        return rights.user_of(state, actor).most_slices(state.inventory.login)

    @_answers
    def flavors(self, actor: str) -> dict[str, Record]:  # noqa: ARG002 - says who is told what of a broken file
        """The sizes a VM can have, by name."""
        return self._database.load().all_flavors

    @_answers
    def list_slices(self, actor: str) -> list[Slice]:
        """The slices that the user may work on, oldest first: a student's own, everybody's for an admin."""
        return rights.visible(self._database.load(), actor)

    @_answers
    def get_slice(self, actor: str, slice_id: int) -> Slice:
        """One slice that the user may work on."""
        return rights.own(self._database.load(), actor, slice_id)

    @_answers
    def read_design(self, actor: str, text: str) -> Design:
        """Return the design of a slice file, checked against the cloud's flavors and its internet network."""
        from topology.reader import read  # noqa: PLC0415 - not needed for the menu's first prompt

        state = self._database.load()
        rights.user_of(state, actor)
        return read(text, state.all_flavors, state.inventory.internet.network)

    @_answers
    def find_slice(self, actor: str, word: str) -> Slice:
        """Return the slice that a user means by an id, a name, or the beginning of a name."""
        return rights.find(self._database.load(), actor, word)

    @_answers
    def discover_workers(self) -> dict[str, Worker]:
        """Measure all workers at once; one that does not answer within a connection's deadline is down."""
        return self._discovery.workers()

    @_answers
    def known_workers(self) -> dict[str, Worker]:
        """Return the workers as they were within the last minute; only what is older is measured again."""
        return self._discovery.known()

    # --- designing ----------------------------------------------------------------------------------------------------

    @_answers
    def create_slice(self, actor: str, name: str = "", topology_type: str = "custom") -> Slice:
        """An empty slice in design, with the next id whose pool of VLANs is free."""
        if name:
            rights.check_name("slice", name)
        with self._database.transaction() as state:
            user = rights.user_of(state, actor)
            rights.require_room_for_slice(state, user, actor)
            slice_id = next_slice_id(state.next_vm_id, state.slices.holdings.values())
            slice_ = Slice(slice_id, actor, topology_type)
            slice_.name = name
            state.next_vm_id = slice_id + 1
            state.slices[slice_id] = slice_
            user.slices.append(slice_id)
        return slice_

    @_answers
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
        """Design a VM, and make its overlay on the worker it was placed on; if that fails nothing is recorded."""
        request = VMRequest(actor, slice_id, name, flavor_name, data_interfaces_count, internet_enabled)
        request.check()
        with self._change(actor, slice_id, listen) as change:
            if flavor := self._database.load().all_flavors.get(flavor_name):
                require_fitting(str(flavor["image"]), flavor_name, float(flavor["disk_gb"]))
            self._discovery.refresh(lambda state: design_vm(state, request).worker_ip)
            with self._database.transaction() as state:
                vm = design_vm(state, request)
                slice_ = state.slices[slice_id]
            change.make_images(slice_, [vm])
            return vm

    @_answers
    def create_link(
        self, actor: str, slice_id: int, vm1_id: int, vm1_interface: str, vm2_id: int, vm2_interface: str
    ) -> Link:
        """Join two unconnected data interfaces of two VMs by the next VLAN of the slice's pool."""
        with self._database.transaction() as state:
            slice_ = rights.designed(state, actor, slice_id)
            for vm in rights.pending(slice_):
                if vm.vm_id in (vm1_id, vm2_id):
                    raise Refused(f"VM {vm.vm_id} ({vm.name}) is still being added; link it when that is done")
            return slice_.connect(
                vm1_id, vm1_interface, vm2_id, vm2_interface, reserved=state.inventory.internet.vlan_id
            )

    # --- deploying and deleting ---------------------------------------------------------------------------------------

    @_answers
    def plan_slice(self, actor: str, slice_id: int) -> Plan:
        """The dry run: what deploying the slice would do, and how it would be taken back."""
        state = self._database.load()
        slice_ = rights.own(state, actor, slice_id)
        return DeploymentAPI(state.inventory).deploy_plan(slice_, new=slice_.status == SliceStatus.DESIGN)

    @_answers
    def deploy_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> Slice:
        """Bring the slice up, or leave every host as it was."""
        with self._change(actor, slice_id, listen) as change:
            slice_ = rights.own(self._database.load(), actor, slice_id)
            if slice_.status == SliceStatus.DESIGN and slice_.left:
                change.take_back_deployment(slice_)
            with self._database.transaction() as state:
                slice_ = rights.own(state, actor, slice_id)
                rights.require_deployable(slice_)
                losses.require_placed(state, slice_)
                slice_.status = SliceStatus.DEPLOYING
                DeploymentAPI(state.inventory).renew_secrets(slice_)
            return change.deploy(slice_)

    @_answers
    def repair_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> list[str]:
        """Bring back what is missing of a running slice; the parts, none when nothing was missing."""
        with self._change(actor, slice_id, listen) as change:
            slice_ = rights.own(self._database.load(), actor, slice_id)
            rights.require_running(slice_)
            return change.repair(slice_)

    @_answers
    def problems(self, actor: str) -> dict[int, SliceProblems]:
        """Return sentences about the problems of the user's running slices, by slice id.

        A slice that is being changed is left out.
        """
        from inspection.inspector import Inspector  # noqa: PLC0415
        from inspection.summary import summary  # noqa: PLC0415

        state = self._database.load()
        found = Inspector(self._database, state.inventory, self._connect).problems(rights.visible(state, actor))
        for_admin = state.users[actor].role == ADMIN
        return {slice_id: summary(each, for_admin=for_admin) for slice_id, each in found.items() if each}

    @_answers
    def prove_isolation(self, actor: str) -> Verdict:
        """The isolation proof as the user may see it: of others' slices the counts only."""
        return self.prover.prove_for(actor)

    @_answers
    def delete_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> Slice:
        """Remove everything of the slice and nothing else; what could not be removed is kept in the slice's `left`."""
        with self._change(actor, slice_id, listen) as change:
            with self._database.transaction() as state:
                slice_ = rights.own(state, actor, slice_id)
                slice_.status = SliceStatus.DELETING
            change.delete(slice_)
            return slice_

    @property
    def console_exits(self) -> tuple[str, ...]:
        """The keys that lead out of a console, as the settings name them."""
        return self._database.inventory.console.exits

    @_answers
    def open_console(self, actor: str, vm_id: int, confirm: Confirm = never) -> Explained:
        """Open the serial console of a running VM; `confirm` asks a user who may take it over from another one."""
        state = self._database.load()
        slice_ = next((s for s in rights.visible(state, actor) if s.vm(vm_id)), None)
        vm = slice_.vm(vm_id) if slice_ else None
        if not slice_ or not vm:
            raise Refused(f"You have no VM {vm_id}; View my Slices shows the ids")
        if vm.status != VMStatus.RUNNING:
            raise Refused(f"VM {vm_id} is not running; {rights.way_to_run(slice_)} slice {slice_.slice_id} first")
        may_take_over = rights.may_take_over(state, actor, slice_)
        consoles = Consoles(DeploymentAPI(state.inventory), self._connect)
        console, taken_from = consoles.open(actor, slice_, vm, confirm if may_take_over else None)
        if taken_from:
            self._audit.write(Entry(actor, f"take console from {taken_from}", slice_.slice_id, vm_id), OK, 0.0)
        return console

    @contextmanager
    def _change(self, actor: str, slice_id: int, listen: Listener) -> Iterator[Change]:
        """A change of a slice by a user who may work on it.

        That is looked at before the slice is claimed: "somebody works on it" would tell a stranger that it exists.
        """
        slice_ = rights.own(self._database.load(), actor, slice_id)
        if losses.has_unplaced(slice_):  # by now another worker may be back, or have room
            self._discovery.workers()
        with self._changes.of(slice_id, listen) as change:
            yield change

    # --- what a manager that died left behind -------------------------------------------------------------------------

    @_answers
    def unfinished(self, actor: str) -> list[Slice]:
        """Of the slices the user may work on: those in the middle of a change that nobody carries on now."""
        slices = rights.visible(self._database.load(), actor)
        return [s for s in slices if rights.is_unfinished(s) and not self._database.is_claimed(s.slice_id)]

    @_answers
    def finish_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> str:
        """Carry the change on that was under way; every step finds out what is there already."""
        with self._change(actor, slice_id, listen) as change:
            slice_ = rights.own(self._database.load(), actor, slice_id)
            if slice_.status == SliceStatus.DELETING:
                change.delete(slice_)
                return f"Slice {slice_id} is deleted"
            if slice_.status == SliceStatus.DEPLOYING:
                change.deploy(slice_, resumed=True)
                return f"Slice {slice_id} is running"
            rights.require_unfinished(slice_)
            change.make_images(slice_, rights.pending(slice_), resumed=True)
            return f"Slice {slice_id} is in design, its VMs are complete"

    @_answers
    def take_back_slice(self, actor: str, slice_id: int, listen: Listener = ignore) -> str:
        """Take the change back that was under way: a deployment, or the VMs that were being added."""
        with self._change(actor, slice_id, listen) as change:
            slice_ = rights.own(self._database.load(), actor, slice_id)
            if slice_.status == SliceStatus.DELETING:
                raise Refused(f"Slice {slice_id} is being deleted, which cannot be taken back; finish it")
            rights.require_unfinished(slice_)
            if slice_.status == SliceStatus.DEPLOYING:
                change.take_back_deployment(slice_)
            if pending := rights.pending(slice_):
                change.forget_vms(slice_, pending)
            return f"Slice {slice_id} is in design"


def _over_ssh(database: Database) -> Callable[[str], Connected]:
    """Return hosts over SSH, which are reached by the settings that were last read; paramiko is imported at need."""

    @functools.cache
    def connections() -> Connections:
        from remote.ssh import Connections  # noqa: PLC0415

        return Connections(database.inventory.ssh)

    def connect(address: str) -> Connected:
        connections().use(database.inventory.ssh)
        return connections().host(address)

    return connect

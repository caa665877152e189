"""Random histories of all use-cases of the menu, with failing hosts and dying managers."""

from __future__ import annotations

import copy
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import event as note
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accounts import rights
from core.errors import Refused
from core.rule import Record
from core.status import SliceStatus, VMStatus
from database import Database, State
from deployment import DeploymentAPI
from models import VM, Slice, User
from orchestrator import OrchestratorAPI
from remote.events import Event, StageStarted, StepDone, StepFailed
from remote.plan import Plan
from remote.runner import Runner
from storage.location import Location, ServerURL
from storage.postgres.store import PostgresStore
from tests.support import damage
from tests.support.agreement import counts_are_right, hosts_agree, nothing_has_two_owners
from tests.support.designs import FLAVOR
from tests.support.desk import NETWORK, PASSWORD_HASH, WORKERS
from tests.support.dying import ManagerDiesError
from tests.support.fake_hosts import FakeHosts
from tests.support.postgres import PostgresServer
from tests.support.scale import LONG, scaled

HOSTS = (*WORKERS, NETWORK)
QUOTAS = {"ann": 4, "ben": 3, "root": 5}
MEMORY = Path("/dev/shm")
TITLES = (
    *("programs", "bridge", "overlay of", "base image", "ports of", "gateway", "DHCP", "internet", "TAPs"),
    *("running VMs", "old disk", "removal of", "start of the guests", "links of"),
    *("QEMU", "VMs", "tags of", "room for", "router", "port security", "resources", "names of"),
)


@dataclass(frozen=True)
class RequestFault:
    """A fault during one request, and its moment: a step, stage or save, or a number of commands on a host."""

    kind: str = "none"
    host: str = HOSTS[0]
    at: int = 0
    title: str = ""


AT_A_SAVE = ("killed before a save", "killed after a save", "no room")
PLACES = st.integers(0, 8) | st.integers(0, 30)
FAULTS = st.one_of(
    st.just(RequestFault()),
    st.just(RequestFault()),
    st.builds(
        RequestFault, st.sampled_from(["a host is dead", "a host dies", "a cut"]), st.sampled_from(HOSTS), PLACES
    ),
    st.builds(RequestFault, st.just("a step fails"), st.sampled_from(HOSTS), st.just(0), st.sampled_from(TITLES)),
    st.builds(RequestFault, st.just("Ctrl-C"), st.just(""), st.integers(0, 4)),
    st.builds(RequestFault, st.just("killed at a step"), st.just(""), PLACES),
    st.builds(
        RequestFault,
        st.sampled_from(["killed before a save", "killed after a save", "no room"]),
        st.just(""),
        st.integers(0, 2),
    ),
)


FAULTS_OF_AN_ADDITION = st.one_of(
    st.builds(RequestFault, st.just("a cut"), st.sampled_from(WORKERS), st.integers(0, 6)),
    st.builds(RequestFault, st.just("killed at a step"), st.just(""), st.integers(0, 2)),
    st.builds(RequestFault, st.just("killed after a save"), st.just(""), st.integers(0, 1)),
)


class MortalDatabase(Database):
    """A database whose manager can be killed around a save, or whose disk can be full."""

    fault = RequestFault()
    saves = 0

    def _save(self, *arguments: Any) -> None:
        self.saves += 1
        strikes = self.saves == self.fault.at + 1
        if strikes and self.fault.kind == "killed before a save":
            raise ManagerDiesError
        if strikes and self.fault.kind == "no room":
            raise Refused("the file cannot be saved (No space left on device)")
        super()._save(*arguments)
        if strikes and self.fault.kind == "killed after a save":
            raise ManagerDiesError


class MortalPostgres(PostgresStore):
    """The same, in a PostgreSQL database."""

    fault = RequestFault()
    saves = 0

    @contextmanager
    def transaction(self) -> Iterator[State]:
        strikes = False
        with super().transaction() as state:
            before = state.to_dict()
            yield state
            if state.to_dict() != before:
                self.saves += 1
                strikes = self.saves == self.fault.at + 1
            if strikes and self.fault.kind == "killed before a save":
                raise ManagerDiesError
            if strikes and self.fault.kind == "no room":
                raise Refused("the database failed (could not extend file: No space left on device)")
        if strikes and self.fault.kind == "killed after a save":
            raise ManagerDiesError


class Histories(RuleBasedStateMachine):
    """Two students and an admin, two workers and a network node."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        users = {name: User(name, PASSWORD_HASH, quota).to_dict() for name, quota in QUOTAS.items()}
        users["root"]["role"] = "admin"
        self.location = self.new_place(self.folder)
        self.opened().create(State.from_dict({"users": users, "flavors": {"cirros": FLAVOR}}))
        self.cloud = FakeHosts()
        for address in HOSTS:
            self.cloud.connect(address)
        self.touched: int | None = None
        self.parsed: tuple[object, Record] = b"", {}
        self.start_manager()

    def new_place(self, folder: Path) -> Location:
        """Return a place for a state."""
        return folder / "database.yaml"

    def leave_place(self) -> None:
        """Remove what the state has outside its folder."""

    def take_hosts_over(self) -> None:
        """Do what an operator does whose new store meets hosts that another one has changed."""

    def opened(self) -> MortalDatabase | MortalPostgres:
        """Return the store as a new manager has it."""
        assert isinstance(self.location, Path)
        return MortalDatabase(self.location)

    def content(self) -> object:
        """Return a value that differs when the state was saved again."""
        assert isinstance(self.location, Path)
        return self.location.read_bytes()

    def start_manager(self) -> None:
        self.database = self.opened()
        self.api = OrchestratorAPI(self.database, self.cloud.connect)  # type: ignore[arg-type]

    def teardown(self) -> None:
        try:
            self.end_well()
        finally:
            self.leave_place()
            shutil.rmtree(self.folder)

    # --- what the menu can do -----------------------------------------------------------------------------------------

    @initialize(designs=st.dictionaries(st.sampled_from(sorted(QUOTAS)), st.integers(0, 3), min_size=1))
    def workers_are_found_and_slices_designed(self, designs: dict[str, int]) -> None:
        """Create a line of VMs for some users, the first with internet."""
        self.request(lambda _: self.api.discover_workers(), RequestFault())
        for owner, count in designs.items():
            _, slice_ = self.api.create_slice(owner, "line")
            assert isinstance(slice_, Slice)
            vms = [
                self.api.add_vm_to_slice(owner, slice_.slice_id, f"vm{n}", "cirros", 2, n == 0) for n in range(count)
            ]
            ids = [vm.vm_id for _, vm in vms if isinstance(vm, VM)]
            for one, other in pairwise(ids):
                assert self.api.create_link(owner, slice_.slice_id, one, "eth1", other, "eth2")[0]

    @rule(user=st.sampled_from(sorted(QUOTAS)), fault=FAULTS)
    def create_slice(self, user: str, fault: RequestFault) -> None:
        self.request(lambda _: self.api.create_slice(user, "net"), fault)

    @rule(fault=FAULTS)
    def look_for_workers(self, fault: RequestFault) -> None:
        self.request(lambda _: self.api.discover_workers(), fault)

    @rule(data=st.data(), count=st.integers(1, 3), nics=st.integers(0, 3), internet=st.booleans(), fault=FAULTS)
    def add_vms(self, data: st.DataObject, count: int, nics: int, internet: bool, fault: RequestFault) -> None:
        slice_ = self.a_slice(data)
        for _ in range(count):
            taken = {vm.name for vm in slice_.vms}
            name = next(f"vm{number}" for number in range(9) if f"vm{number}" not in taken)
            before = self.state().users[slice_.owner]
            actor, slice_id = self.actor(data, slice_), slice_.slice_id
            done = self.request(
                lambda listen: self.api.add_vm_to_slice(actor, slice_id, name, "cirros", nics, internet, listen),  # noqa: B023
                fault, slice_,
            )  # fmt: skip
            fault = RequestFault()
            assert not done or before.used_vms < before.quota_vms
            slice_ = self.state().slices[slice_id]

    @rule(data=st.data(), fault=FAULTS)
    def create_link(self, data: st.DataObject, fault: RequestFault) -> None:
        slice_ = self.a_slice(data)
        free = [(vm.vm_id, i.name) for vm in slice_.vms for i in vm.interfaces if i.can_be_linked or data.draw(RARELY)]
        if len(free) < 2:
            return
        one, other = data.draw(st.permutations(free))[:2]
        actor = self.actor(data, slice_)
        self.request(lambda _: self.api.create_link(actor, slice_.slice_id, *one, *other), fault, slice_)

    @rule(data=st.data(), fault=FAULTS)
    def deploy(self, data: st.DataObject, fault: RequestFault) -> None:
        slice_ = self.a_slice(data)
        actor = self.actor(data, slice_)
        self.request(lambda listen: self.api.deploy_slice(actor, slice_.slice_id, listen), fault, slice_)

    @rule(data=st.data(), fault=FAULTS)
    def delete(self, data: st.DataObject, fault: RequestFault) -> None:
        slice_ = self.a_slice(data)
        actor = self.actor(data, slice_)
        self.request(lambda listen: self.api.delete_slice(actor, slice_.slice_id, listen), fault, slice_)

    @precondition(lambda self: any(s.status == SliceStatus.RUNNING for s in self.slices()))
    @rule(data=st.data(), verb=st.sampled_from(["start", "stop", "restart", "reset"]), fault=FAULTS)
    def switch(self, data: st.DataObject, verb: str, fault: RequestFault) -> None:
        running = [slice_ for slice_ in self.slices() if slice_.status == SliceStatus.RUNNING]
        slice_ = data.draw(st.sampled_from(running))
        ids = [vm.vm_id for vm in slice_.vms]
        chosen = data.draw(st.lists(st.sampled_from(ids), max_size=2, unique=True))
        actor, act = self.actor(data, slice_), getattr(self.api.power, verb)
        self.request(lambda listen: act(actor, slice_.slice_id, chosen, listen), fault, slice_)

    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        slice_ = self.a_slice(data)
        before = self.content(), copy.deepcopy(self.cloud.state())
        user = data.draw(st.sampled_from(sorted(QUOTAS)))
        seen = self.api.get_slice(user, slice_.slice_id)[0]
        assert seen == (user in {slice_.owner, "root"})
        assert self.api.plan_slice(user, slice_.slice_id)[0] == seen
        assert (self.content(), self.cloud.state()) == before

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data(), finish=st.booleans(), fault=FAULTS)
    def answer_what_was_found(self, data: st.DataObject, finish: bool, fault: RequestFault) -> None:
        slice_ = data.draw(st.sampled_from(self.unfinished()))
        answer = self.api.finish_slice if finish else self.api.take_back_slice
        actor = self.actor(data, slice_)
        self.request(lambda listen: answer(actor, slice_.slice_id, listen), fault, slice_)

    @precondition(lambda self: any(host.dead for host in self.cloud.hosts.values()))
    @rule()
    def hosts_come_back(self) -> None:
        self.revive()

    # --- what happens behind our back, and what an operator does about it ---------------------------------------------

    def all_is_settled(self) -> bool:
        """Check that every host answers, and that no slice is unfinished or has remains on hosts."""
        dead = any(host.dead for host in self.cloud.hosts.values())
        return not dead and not self.unfinished() and not any(slice_.left for slice_ in self.slices())

    @precondition(all_is_settled)
    @rule(data=st.data(), fault=FAULTS)
    def damage_and_repair(self, data: st.DataObject, fault: RequestFault) -> None:
        doctor = self.api.doctor
        assert doctor.examine().findings == ()
        if not any(slice_.status == SliceStatus.RUNNING for slice_ in self.slices()):
            for design in self.slices():
                self.request(lambda _: self.api.deploy_slice("root", design.slice_id), RequestFault())  # noqa: B023
        running = [slice_ for slice_ in self.slices() if slice_.status == SliceStatus.RUNNING]
        if not running:
            return
        slice_ = data.draw(st.sampled_from(running))
        before, saved = whole(self.cloud), self.state().to_dict()
        wanted = data.draw(st.lists(st.sampled_from(damage.possible(self.cloud, slice_)), min_size=1, max_size=4))
        note(f"damage: {wanted[0].title.split()[0]}")
        for each in wanted:
            each.strike()
        assert doctor.examine().findings, [each.title for each in wanted]
        actor = self.actor(data, slice_)
        self.request(lambda listen: self.api.repair_slice(actor, slice_.slice_id, listen), fault, slice_)
        self.revive()  # also where the slice has no object on the dead host
        for each_slice in running:  # shared objects may belong to another slice, too
            ok, value = self.api.repair_slice("root", each_slice.slice_id)
            assert ok, (value, [each.title for each in wanted])
        assert whole(self.cloud) == before, [each.title for each in wanted]
        assert without_pids(self.state().to_dict()) == without_pids(saved)
        assert doctor.examine().findings == (), [each.title for each in wanted]
        assert self.api.repair_slice(actor, slice_.slice_id) == (True, [])

    @precondition(all_is_settled)
    @rule(data=st.data())
    def forget_and_clear_away(self, data: st.DataObject) -> None:
        """Check, on copies, that `doctor --fix` does to a forgotten slice what deleting it would do."""
        slices = self.slices()
        if not slices:
            return
        slice_ = data.draw(st.sampled_from(slices))
        there, wanted = copy.deepcopy(self.cloud), copy.deepcopy(self.cloud)
        state = self.state()
        carry_out(wanted, DeploymentAPI(state.inventory).deploy_plan(slice_).undone("remove"))
        for cloud in (there, wanted):
            for host in cloud.hosts.values():
                damage.put_foreign_objects(host)
        with self.on_copies():
            with self.database.transaction() as copied:
                forget(copied, slice_)
            doctor = OrchestratorAPI(self.database, there.connect).doctor  # type: ignore[arg-type]
            assert bool(doctor.examine().findings) == bool(slice_.vms)
            diagnosis = doctor.fix()
        assert (diagnosis.findings, diagnosis.not_removed) == ((), ())
        assert whole(there) == whole(wanted)

    @precondition(all_is_settled)
    @rule(data=st.data(), fault=FAULTS_OF_AN_ADDITION)
    def ids_come_again(self, data: st.DataObject, fault: RequestFault) -> None:
        """Check, on copies, that disks survive every fate of a slice in a forgotten one's place."""
        slices = self.slices()
        if not slices:
            return
        slice_ = data.draw(st.sampled_from(slices))
        name = data.draw(st.sampled_from([*(vm.name for vm in slice_.vms), "other"]))
        with self.on_copies():
            with self.database.transaction() as state:
                forget(state, slice_)
                state.next_vm_id = slice_.slice_id
            before = disks(self.cloud)
            owner = data.draw(st.sampled_from(sorted(QUOTAS)))
            _, again = self.api.create_slice(owner, "again")
            assert isinstance(again, Slice)
            number = again.slice_id
            self.request(
                lambda listen: self.api.add_vm_to_slice(owner, number, name, "cirros", 1, False, listen), fault
            )
            self.revive()
            if self.unfinished():
                answers = {"finish": self.api.finish_slice, "take back": self.api.take_back_slice}
                answers[data.draw(st.sampled_from(sorted(answers)))](owner, number)
            assert disks(self.cloud).items() >= before.items()
            deleted = self.api.delete_slice(owner, number)
            assert deleted[0], deleted[1]
            assert disks(self.cloud) == before

    @rule(worker=st.sampled_from(WORKERS), finish=st.booleans(), deploy=st.booleans())
    def a_worker_is_written_off_and_comes_back(self, worker: str, finish: bool, deploy: bool) -> None:
        """Check, on copies, that all goes on without a worker and that its doctor clears it."""
        with self.on_copies():
            self.revive()
            self.cloud.hosts[worker].dead = True
            self.api.hosts.forget(worker)
            for slice_ in self.unfinished():
                answer = (
                    self.api.finish_slice
                    if finish or slice_.status == SliceStatus.DELETING
                    else self.api.take_back_slice
                )
                answered = answer("root", slice_.slice_id)
                if not answered[0] and "the old disk is gone" in answered[1]:
                    answered = self.api.finish_slice("root", slice_.slice_id)
                assert answered[0], answered[1]
            for slice_ in self.slices():
                if slice_.status == SliceStatus.RUNNING:
                    repaired = self.api.repair_slice("root", slice_.slice_id)
                    assert repaired[0], repaired[1]
                elif deploy and slice_.vms:
                    deployed = self.api.deploy_slice("root", slice_.slice_id)
                    assert deployed[0], deployed[1]
            assert self.api.problems("root") == (True, {})
            nothing_has_two_owners(self.state())
            counts_are_right(self.state())
            self.revive()
            assert self.api.doctor.fix().not_removed == ()
            assert self.api.doctor.examine().findings == ()
            assert not disks(FakeHosts({worker: self.cloud.hosts[worker]}))
            hosts_agree(self.cloud, self.state())
            self.end_well()

    @contextmanager
    def on_copies(self) -> Iterator[None]:
        """Run the body on a copy of the state and of the hosts."""
        mine = self.location, self.cloud, self.database, self.api
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as folder:
            self.location, self.cloud = self.new_place(Path(folder)), copy.deepcopy(self.cloud)
            self.opened().create(mine[2].load())
            self.start_manager()
            self.take_hosts_over()
            try:
                yield
            finally:
                self.leave_place()
                self.location, self.cloud, self.database, self.api = mine

    # --- how a request is carried out ---------------------------------------------------------------------------------

    def request(
        self, carry_out: Callable[[Callable[[Event], None]], Any], fault: RequestFault, slice_: Slice | None = None
    ) -> bool:
        """Run a use-case while `fault` happens; return whether it worked.

        A failure is one sentence, or a dead manager.
        """
        self.touched = slice_.slice_id if slice_ else None
        self.arm(fault)
        steps = stages = 0

        def listen(event: Event) -> None:
            nonlocal steps, stages
            if isinstance(event, StageStarted):
                if fault.kind == "Ctrl-C" and stages == fault.at:
                    signal.raise_signal(signal.SIGINT)
                stages += 1
            if isinstance(event, StepDone | StepFailed):
                if fault.kind == "killed at a step" and steps == fault.at:
                    steps += 1
                    raise ManagerDiesError
                steps += 1

        try:
            ok, value = carry_out(listen)
        except ManagerDiesError:
            note(f"{fault.kind}: dead")
            self.start_manager()
            return False
        finally:
            self.database.fault = RequestFault()
            for host in self.cloud.hosts.values():
                host.faults, host.dies_after, host.cut_after = {}, None, None
        note(f"{fault.kind}: {'done' if ok else 'refused or taken back'}")
        if not ok:
            assert isinstance(value, str)
            assert value.isprintable()
        return bool(ok)

    def arm(self, fault: RequestFault) -> None:
        self.database.fault, self.database.saves = fault, 0
        if fault.kind == "a host is dead":
            self.cloud.hosts[fault.host].dead = True
        if fault.kind == "a host dies":
            self.cloud.hosts[fault.host].dies_after = fault.at
        if fault.kind == "a cut":  # of one connection; the next one finds the host in its present state
            self.cloud.hosts[fault.host].cut_after = fault.at
        if fault.kind == "a step fails":
            self.cloud.hosts[fault.host].faults = {fault.title: (1, "", "out of luck")}

    def revive(self) -> None:
        for host in self.cloud.hosts.values():
            host.dead = False

    def state(self) -> State:
        """Return the present state, parsed once per change, because it is needed all the time."""
        content = self.content()
        if content != self.parsed[0]:
            self.parsed = content, self.database.load().to_dict()
        return State.from_dict(self.parsed[1])

    def slices(self) -> list[Slice]:
        return [slice_ for _, slice_ in sorted(self.state().slices.items())]

    def unfinished(self) -> list[Slice]:
        return [s for s in self.slices() if rights.is_unfinished(s)]

    def a_slice(self, data: st.DataObject) -> Slice:
        while not (slices := self.slices()):
            self.create_slice("ann", RequestFault())
        return data.draw(st.sampled_from(slices))

    @staticmethod
    def actor(data: st.DataObject, slice_: Slice) -> str:
        return data.draw(st.sampled_from([slice_.owner, "root"]))

    # --- what has to hold after each ----------------------------------------------------------------------------------

    @invariant()
    def nothing_has_two_owners(self) -> None:
        nothing_has_two_owners(self.state())

    @invariant()
    def counts_are_right(self) -> None:
        counts_are_right(self.state())

    @invariant()
    def the_store_has_what_its_manager_thinks(self) -> None:
        state = self.opened().load()
        assert state.to_dict() == self.database.load().to_dict() == State.from_dict(state.to_dict()).to_dict()
        assert {entry.name for entry in self.folder.iterdir()} <= NAMES

    @invariant()
    def hosts_agree(self) -> None:
        hosts_agree(self.cloud, self.state())

    @invariant()
    def a_plan_undone_and_redone_is_the_same(self) -> None:
        slice_ = self.state().slices.get(self.touched or 0)
        if (
            not slice_
            or slice_.left
            or slice_.status not in {SliceStatus.DESIGN, SliceStatus.RUNNING}
            or not slice_.vms
        ):
            return
        # Shared objects of another unfinished slice may be incomplete; then this plan completes them.
        if self.unfinished() or any(other.left for other in self.slices()):
            return
        cloud = copy.deepcopy(self.cloud)
        for host in cloud.hosts.values():
            host.dead = False
        deployment = DeploymentAPI(self.state().inventory)
        plan = deployment.deploy_plan(slice_)
        before = plain(cloud)
        if slice_.status == SliceStatus.RUNNING:
            carry_out(cloud, plan)
            assert plain(cloud) == before, "running it again changes something"
            carry_out(cloud, plan.undone("remove"))
            carry_out(cloud, plan)
        else:
            carry_out(cloud, plan)
            carry_out(cloud, deployment.running_plan(slice_).undone("take back"))
        assert plain(cloud) == before

    def end_well(self) -> None:
        """Finish all changes with one answer each once all hosts answer, then delete everything."""
        self.revive()
        self.start_manager()
        found = self.unfinished()
        offered = self.api.unfinished("root")[1]
        assert [slice_.slice_id for slice_ in offered if isinstance(slice_, Slice)] == [s.slice_id for s in found]
        for number, slice_ in enumerate(found):
            answer = (
                self.api.take_back_slice
                if number % 2 and slice_.status != SliceStatus.DELETING
                else self.api.finish_slice
            )
            ok, value = answer("root", slice_.slice_id)
            if not ok and "the old disk is gone" in value:
                ok, value = self.api.finish_slice("root", slice_.slice_id)
            assert ok, value
            self.hosts_agree()
        assert not self.unfinished()
        for slice_ in self.slices():
            deleted = self.api.delete_slice(slice_.owner, slice_.slice_id)
            assert deleted[0], deleted[1]
            self.hosts_agree()
        assert not self.state().slices
        assert {user.used_vms for user in self.state().users.values()} == {0}
        for host in self.cloud.hosts.values():
            assert (host.ports, host.processes, host.rules, host.flows) == ({}, {}, [], {})
            assert host.namespaces == {"": {"ens3": set(), "ens4": set()}}
            assert host.folders <= {"/run", "/tmp", "vm_images"}
            assert host.files.keys() <= {"vm_images/cirros.img", "vm_images/.cirros.img.seal"}


def has_pending(slice_: Slice) -> bool:
    return any(vm.status == VMStatus.PENDING for vm in slice_.vms)


NAMES = {f"database.yaml{suffix}" for suffix in ("", ".lock", ".previous", ".audit")}
RARELY = st.sampled_from([False, False, False, True])


def forget(state: State, slice_: Slice) -> None:
    """Remove the slice from the file."""
    del state.slices[slice_.slice_id]
    owner = state.users[slice_.owner]
    owner.slices.remove(slice_.slice_id)
    owner.used_vms -= len(slice_.vms)
    state.recount()


def disks(cloud: FakeHosts) -> dict[str, str]:
    """Return overlays and marks, with their content."""
    return {
        f"{address}:{path}": text
        for address, host in cloud.hosts.items()
        for path, text in host.files.items()
        if path.endswith("_img.qcow2") or ".id-" in path
    }


def carry_out(cloud: FakeHosts, plan: Plan) -> None:
    report = Runner(cloud.connect).run(plan, keep_going=False)
    assert not report.error, report.error


def plain(cloud: FakeHosts) -> dict[str, Any]:
    """Return the hosts' state without process ids, which are always new."""
    state = copy.deepcopy(cloud.state())
    for host in state.values():
        host["processes"] = {path: mark for path, (mark, _) in host["processes"].items()}
        host["files"] = {path: "" if path.endswith("pid") else text for path, text in host["files"].items()}
    return state


def whole(cloud: FakeHosts) -> dict[str, Any]:
    """Return also the objects that a slice needs and does not leave behind."""
    books = {
        address: (
            host.ours,
            host.marks,
            host.aliases,
            host.macs,
            host.down,
            {name for name in host.deaf if "dhcp" in name},
            host.forwarding,
            set(host.holders),
        )
        for address, host in sorted(cloud.hosts.items())
    }
    return copy.deepcopy({"state": plain(cloud), "books": books})


def without_pids(record: Record) -> Record:
    record = copy.deepcopy(record)
    for slice_ in record["slices"].values():
        for vm in slice_["vms"]:
            vm.pop("pid", None)
    return record


class PostgresHistories(Histories):
    """The same histories over a PostgreSQL database."""

    server: ClassVar[PostgresServer]

    def new_place(self, folder: Path) -> Location:  # noqa: ARG002 - the server has a place of its own
        return self.server.new_database()

    def leave_place(self) -> None:
        assert isinstance(self.location, ServerURL)
        self.server.remove_database(self.location)

    def take_hosts_over(self) -> None:
        self.revive()
        assert self.api.fences.above_all_hosts().unseen == {}

    def opened(self) -> MortalPostgres:
        assert isinstance(self.location, ServerURL)
        return MortalPostgres(self.location)

    def content(self) -> object:
        return self.database.load().to_dict()


@pytest.fixture(autouse=True, scope="module")
def server(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the histories a server, and managers a home."""
    PostgresHistories.server = postgres
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


Histories.TestCase.settings = settings(
    max_examples=scaled(40, 2000),
    stateful_step_count=15,
    deadline=None,
    database=None,
    derandomize=not LONG,  # the long run uses other histories each time; a failure prints its seed
    print_blob=True,
)
PostgresHistories.TestCase.settings = settings(Histories.TestCase.settings, max_examples=scaled(15, 500))
TestHistories = pytest.mark.torture(Histories.TestCase)
TestPostgresHistories = pytest.mark.torture(PostgresHistories.TestCase)

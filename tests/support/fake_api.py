"""The use-cases of `OrchestratorAPI` on a cloud in memory, for tests of the menu: real models, no file, no host."""

from __future__ import annotations

import copy
import functools
import os
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import cli
from allocation.ids import next_internet_address, next_slice_id, next_vm_id, next_vnc_port
from allocation.taken import Taken, taken_by
from core.captures import CaptureRequest
from core.errors import CloudError, Interrupted, Refused
from core.inventory import InternetSettings, LoginSettings, Worker
from core.names import mac_address
from core.results import Failure, Result, value_of
from core.ssh_keys import PublicKey
from core.status import SliceStatus, VMStatus
from inspection.doctor import Diagnosis, Doctor
from inspection.findings import Finding
from inspection.isolation.proof import Breach, Property
from inspection.isolation.prover import Prover, Verdict
from inspection.summary import SliceProblems
from lifecycle.creation import Demand
from lifecycle.hosts import Remains, WrittenOff
from lifecycle.reach import WayIn, WaysIn
from lifecycle.readiness import Look, Watch
from lifecycle.signs import Sign, VMSigns
from lifecycle.snapshots import Unfinished
from models import (
    VM,
    Flavor,
    Interface,
    Link,
    Slice,
    User,
)
from remote.events import InterruptNoted, Listener, StageStarted, StepDone, StepFailed, Transferred, ignore
from remote.interrupts import held
from remote.plan import Command, Plan, Stage, Step
from tests.support.fake_guest import FakeGuest
from topology.design import Design
from topology.imports.builder import Flavors
from topology.imports.convert import convert
from topology.reader import read

T = TypeVar("T")
Answer = Result[T]

WORKERS = ("10.0.10.1", "10.0.10.2")
NETWORK_NODE = "10.0.10.3"


def answering(method: Callable[..., T]) -> Callable[..., Answer[T]]:
    @functools.wraps(method)
    def answer(*args: object) -> Answer[T]:
        try:
            return True, method(*args)
        except CloudError as error:
            return False, Failure(error)

    return answer


class FakeAccounts:
    def __init__(self, users: dict[str, User]) -> None:
        self.users = users

    def add(self, username: str, password: str, quota: int, role: str) -> None:
        if username in self.users:
            raise Refused(f"There is a user {username} already")
        self.users[username] = User(username, password, quota, role)

    def set_password(self, username: str, password: str) -> None:
        self._user(username).password_hash = password

    def set_quota(self, username: str, quota: int) -> None:
        self._user(username).quota_vms = quota

    def set_slices(self, username: str, count: int | None) -> None:
        self._user(username).quota_slices = count

    def most_slices(self, username: str) -> int:
        return self._user(username).most_slices(LoginSettings())

    def set_role(self, username: str, role: str) -> None:
        self._user(username).role = role

    def remove(self, username: str) -> None:
        del self.users[self._user(username).username]

    def list(self) -> Iterable[User]:
        return self.users.values()

    def _user(self, username: str) -> User:
        if username not in self.users:
            raise Refused(f"There is no user {username}; user list shows all")
        return self.users[username]


class FakeDoctor(Doctor):
    """A doctor with given findings; `--fix` removes the orphans among them."""

    def __init__(self) -> None:
        self.found: tuple[Finding, ...] = ()
        self.unseen: tuple[str, ...] = ()
        self.asked: list[Collection[str] | None] = []

    def examine(self) -> Diagnosis:
        return Diagnosis(self.found, self.unseen, self._removable())

    def fix(self, agreed: Collection[str] | None = None) -> Diagnosis:
        self.asked.append(agreed)
        removed = [each for each in self._removable() if agreed is None or each in agreed]
        left = tuple(finding for finding in self.found if finding.sentence not in removed)
        return Diagnosis(left, self.unseen, removed=tuple(removed))

    def _removable(self) -> tuple[str, ...]:
        return tuple(finding.sentence for finding in self.found if finding.code.startswith("orphan"))


class FakeProver(Prover):
    """A prover with one property, broken on demand."""

    def __init__(self) -> None:
        self.breaches: list[Breach] = []
        self.unseen: tuple[str, ...] = ()

    def prove(self) -> Verdict:
        return Verdict((Property("ports: every port has its tag", 7, self.breaches),), self.unseen)


class FakeSession:
    """An open session, which frees its place."""

    def __init__(self, free: Callable[[], None]) -> None:
        self.close = free


class FakeHostChanges:
    """Changes of workers of which no slice lost anything."""

    def examine(self, address: str) -> Remains:
        raise Refused(f"{address} answers")

    def forget(self, address: str) -> WrittenOff:
        raise Refused(f"{address} answers")


class FakeDesigns:
    """The use-cases of whole designs."""

    def __init__(self, api: FakeAPI) -> None:
        self._api = api

    @answering
    def read(self, _actor: str, text: str) -> Design:
        return read(text, Flavor.built_in())

    @answering
    def files(self, _actor: str) -> list[str]:
        return [*self._api.files]

    @answering
    def read_file(self, _actor: str, name: str) -> Design:
        return read(self._api.files[name], Flavor.built_in())

    @answering
    def convert(self, _actor: str, text: str, tool: str) -> tuple[str, list[str]]:
        return convert(text, Flavors({}), tool)

    @answering
    def demand(self, actor: str, design: Design) -> Demand:
        user, vms = self._api.users[actor], len(design.vms)
        return Demand(vms, len(design.links), vms / 2, 23.0, user.used_vms + vms, user.quota_vms)

    @answering
    def create(self, actor: str, design: Design, listen: Listener, *, realm: str = "") -> Slice:
        self._api.realm = realm
        slice_ = value_of(self._api.create_slice(actor, design.name))
        ids = {}
        for vm in design.vms:
            words = (vm.name, vm.flavor, vm.nics, vm.internet, listen)
            ids[vm.name] = value_of(self._api.add_vm_to_slice(actor, slice_.slice_id, *words)).vm_id
        for link in design.links:
            slice_.join([(ids[end.vm], f"eth{end.nic}") for end in link.ends])
        return slice_


class FakeKeys:
    """The keys of users who have none, and may add none."""

    @answering
    def list(self, _actor: str) -> Iterable[PublicKey]:
        return []

    @answering
    def check(self, _actor: str, _text: str) -> None:
        raise Refused("This is no public key")


class FakeSnapshots:
    """The snapshots of users who have none."""

    @answering
    def unfinished(self, _actor: str) -> Iterable[Unfinished]:
        return []


class FakeReach:
    """The ways to VMs: each has one."""

    def __init__(self, api: FakeAPI) -> None:
        self._api = api

    @answering
    def ways(self, actor: str, slice_id: int) -> WaysIn:
        slice_ = value_of(self._api.get_slice(actor, slice_id))
        names = [vm.name for vm in slice_.vms]
        ways = (WayIn(f"{slice_.name}-{name}", slice_.name, name, "student", f"cloud-{name}", "") for name in names)
        return WaysIn(tuple(ways), (), "")

    @answering
    def capture(self, actor: str, slice_id: int, vm_id: int, request: CaptureRequest) -> NoReturn:
        slice_ = value_of(self._api.get_slice(actor, slice_id))
        raise Refused(f"No packets pass {request.nic} of VM {vm_id} in slice {slice_.slice_id}")


class FakeReadiness:
    """The looks at VMs: at each look one more VM is ready; `booting` are those that never are."""

    def __init__(self, api: FakeAPI) -> None:
        self._api = api
        self.booting: set[str] = set()

    @answering
    def wait(self, actor: str, slice_id: int, _seconds: float | None, watch: Watch) -> Look:
        vms = value_of(self._api.get_slice(actor, slice_id)).vms
        for count in range(len(vms) + 1):
            seen = {vm.name for vm in vms[:count]} - self.booting
            look = Look(tuple(self._signs(vm, ready=vm.name in seen) for vm in vms), (), {})
            if look.ready or not watch(look, 0.01):
                break
        return look

    @staticmethod
    def _signs(vm: VM, *, ready: bool) -> VMSigns:
        seen = frozenset(Sign if ready else {Sign.PROCESS})
        return VMSigns(vm.vm_id, vm.name, seen, tuple(Sign), Sign.LEASE, 300)


class FakeAPI:
    """The use-cases; `pace` is the duration of a step in seconds, `down` are workers that do not answer."""

    def __init__(self, pace: float = 0.0, down: tuple[str, ...] = ()) -> None:
        self.users = {"admin": User("admin", "admin"), "student": User("student", "student", 6)}
        self.accounts = FakeAccounts(self.users)
        self.slices: dict[int, Slice] = {}
        self.files: dict[str, str] = {}
        self.realm = ""
        self.broken: dict[int, SliceProblems] = {}
        self.designs = FakeDesigns(self)
        self.reach = FakeReach(self)
        self.readiness = FakeReadiness(self)
        self.keys = FakeKeys()
        self.snapshots = FakeSnapshots()
        self.doctor = FakeDoctor()
        self.prover = FakeProver()
        self.hosts = FakeHostChanges()
        self.left_over: list[int] = []
        self.guests: list[FakeGuest] = []
        self.pace = pace
        self.down = down
        self.fails_at = ""
        self.interrupts_at = ""
        self.asks_for_new_password = False
        self.next_warning = ""
        self.warning_of_store = ""
        self.idle_seconds = float(os.environ.get("FAKE_IDLE", "1800"))
        self.sessions = 8
        self.open_sessions: list[str] = []
        self.measurements = 0

    console_exits = ("ctrl-]", "~.")
    visitor = ""
    """The user of the consoles."""

    @answering
    def flavors(self, _actor: str) -> dict[str, Flavor]:
        return Flavor.built_in()

    @answering
    def authenticate(self, username: str, password: str) -> User:
        user = self.users.get(username)
        if not user or user.password_hash != password:
            raise Refused("Wrong user name or password")
        return user

    def open_session(self, username: str) -> Answer[FakeSession]:
        if self.open_sessions.count(username) >= self.sessions:
            return False, Failure(Refused(f"{username} has {self.sessions} sessions open"))
        self.open_sessions.append(username)
        return True, FakeSession(lambda: self.open_sessions.remove(username))

    @answering
    def command_address(self, _actor: str) -> str:
        return "cloud@manager"

    def needs_new_password(self, username: str, password: str) -> bool:
        return self.asks_for_new_password and username == password

    @answering
    def change_password(self, actor: str, current: str, new: str) -> None:
        if self.users[actor].password_hash != current:
            raise Refused("This is not your current password; nothing was changed")
        if len(new) < 8:
            raise Refused("A password has 8 to 256 characters")
        self.users[actor].password_hash = new

    def warning_at_start(self) -> str:
        return self.warning_of_store

    def warning(self) -> str:
        warning, self.next_warning = self.next_warning, ""
        return warning

    @answering
    def discover_workers(self) -> dict[str, Worker]:
        self.measurements += 1
        return {address: Worker(4, 8.0, 100.0, 1, 0.5, 1.0, address not in self.down) for address in WORKERS}

    @answering
    def most_slices(self, actor: str) -> int:
        return self.accounts.most_slices(actor)

    def known_workers(self) -> Answer[dict[str, Worker]]:
        return self.discover_workers()

    @answering
    def get_user(self, username: str) -> User:
        return self.users[username]

    @answering
    def list_slices(self, actor: str) -> list[Slice]:
        return [copy.deepcopy(slice_) for slice_ in self.slices.values() if self._may(actor, slice_)]

    @answering
    def get_slice(self, actor: str, slice_id: int) -> Slice:
        return copy.deepcopy(self._own(actor, slice_id))

    @answering
    def find_slice(self, actor: str, word: str) -> Slice:
        for slice_ in self.slices.values():
            if word in {slice_.name, str(slice_.slice_id)} and self._may(actor, slice_):
                return copy.deepcopy(slice_)
        raise Refused(f"You have no slice {word}")

    @answering
    def create_slice(self, actor: str, name: str) -> Slice:
        slice_ = Slice(next_slice_id(self._next_id(), self._taken()), actor)
        slice_.name = name
        self.slices[slice_.slice_id] = slice_
        return slice_

    @answering
    def add_vm_to_slice(
        self, actor: str, slice_id: int, name: str, flavor_name: str, count: int, internet: bool, listen: Listener
    ) -> VM:
        slice_ = self._own(actor, slice_id)
        owner = slice_.owner
        if not self.users[owner].can_create_vms(1):
            raise Refused("Quota exceeded")
        if any(vm.name == name for vm in slice_.vms):
            raise Refused(f"Slice {slice_id} has a VM {name} already")
        vm_id = next_vm_id(self._next_id(), self._taken())
        interfaces = [Interface(f"eth{i}", mac=mac_address(vm_id, i)) for i in range(count + 1)]
        if internet:
            interfaces[0].vlan_id = 400
            interfaces[0].ip_config = next_internet_address(vm_id, self._taken(), InternetSettings())
        worker = WORKERS[len(slice_.vms) % 2]
        self._play(Plan((Stage("prepare", (step(worker, f"base image and overlay of {name}"),)),)), listen, upload=True)
        vm = VM(vm_id, name, owner, worker, next_vnc_port(self._taken()), interfaces, Flavor.get(flavor_name))
        vm.flavor_name, vm.status = flavor_name, VMStatus.DESIGN
        slice_.vms.append(vm)
        self.users[owner].used_vms += 1
        return vm

    @answering
    def create_link(
        self,
        actor: str,
        slice_id: int,
        vm1: int,
        interface1: str,
        vm2: int,
        interface2: str,
        listen: Listener = ignore,  # noqa: ARG002 - of the real one
    ) -> Link:
        return self._own(actor, slice_id).connect(vm1, interface1, vm2, interface2)

    @answering
    def plan_slice(self, actor: str, slice_id: int) -> Plan:
        return deployment_of(self._own(actor, slice_id))

    @answering
    def deploy_slice(self, actor: str, slice_id: int, listen: Listener) -> Slice:
        slice_ = self._own(actor, slice_id)
        if slice_.status == SliceStatus.RUNNING:
            raise Refused("Slice already running")
        with held(listen) as pressed:
            plan = deployment_of(slice_)
            self._play(plan, listen)
            if pressed():
                self._play(plan.undone("take back"), listen)
                raise Interrupted("Interrupted; everything was taken back")
        slice_.status = SliceStatus.RUNNING
        for vm in slice_.vms:
            vm.status, vm.vnc_secret = VMStatus.RUNNING, f"x7Kd{vm.vm_id}"
        return slice_

    @answering
    def problems(self, actor: str) -> dict[int, SliceProblems]:
        return {number: found for number, found in self.broken.items() if self._own(actor, number)}

    @answering
    def prove_isolation(self, actor: str) -> Verdict:
        assert actor in self.users
        return self.prover.prove()

    @answering
    def repair_slice(self, actor: str, slice_id: int, listen: Listener) -> list[str]:
        self._play(deployment_of(self._own(actor, slice_id)), listen)
        return list(self.broken.pop(slice_id, SliceProblems()).sentences)

    @answering
    def delete_slice(self, actor: str, slice_id: int, listen: Listener) -> Slice:
        slice_ = self._own(actor, slice_id)
        self._play(deployment_of(slice_).undone("remove"), listen)
        del self.slices[slice_id]
        self.users[slice_.owner].used_vms -= len(slice_.vms)
        return slice_

    @answering
    def unfinished(self, actor: str) -> list[Slice]:
        left_over = [self.slices[slice_id] for slice_id in self.left_over if slice_id in self.slices]
        return [slice_ for slice_ in left_over if self._may(actor, slice_)]

    @answering
    def finish_slice(self, actor: str, slice_id: int, listen: Listener) -> str:
        self._play(deployment_of(self._own(actor, slice_id)), listen)
        self.left_over.remove(slice_id)
        return f"Slice {slice_id} is running"

    @answering
    def take_back_slice(self, actor: str, slice_id: int, listen: Listener) -> str:
        self._play(deployment_of(self._own(actor, slice_id)).undone("take back"), listen)
        self.left_over.remove(slice_id)
        return f"Slice {slice_id} is in design"

    @answering
    def open_console(self, actor: str, vm_id: int, confirm: Callable[[str], bool]) -> FakeGuest:
        if not any(slice_.vm(vm_id) for slice_ in self.slices.values() if self._may(actor, slice_)):
            raise Refused(f"You have no VM {vm_id}; View my Slices shows the ids")
        if self.visitor and not confirm(f"{self.visitor} is using the console of vm1, since 02:13"):
            raise Refused(f"{self.visitor} keeps the console of vm1")
        self.guests.append(FakeGuest())
        return self.guests[-1]

    def _own(self, actor: str, slice_id: int) -> Slice:
        slice_ = self.slices.get(slice_id)
        if not slice_ or not self._may(actor, slice_):
            raise Refused(f"You have no slice {slice_id}; View my Slices shows the ids")
        return slice_

    def _may(self, actor: str, slice_: Slice) -> bool:
        return self.users[actor].may_work_on(slice_)

    def _taken(self) -> Taken:
        return taken_by(self.slices.values())

    def _next_id(self) -> int:
        used = [*self.slices, *(vm.vm_id for slice_ in self.slices.values() for vm in slice_.vms)]
        return max(used, default=999) + 1

    def _play(self, plan: Plan, listen: Listener, *, upload: bool = False) -> None:
        """Send `listen` the events of a runner."""
        for stage in plan.stages:
            listen(StageStarted(stage))
            if stage.title == self.interrupts_at:
                listen(InterruptNoted())
            for number, each in enumerate(stage.steps):
                if stage.title == self.fails_at:
                    error = CloudError(f"{each.host}: {each.title}: no space left on device")
                    listen(StepFailed(stage, each, error))
                    raise error
                for done in range(0, 20 * 2**20, 2**20) if upload else ():
                    listen(Transferred(each.host, each.title, done, 20 * 2**20))
                    time.sleep(self.pace / 10)
                time.sleep(self.pace)
                listen(StepDone(stage, each, 0.12 + self.pace, number % 3 != 2))


def step(host: str, title: str, *objects: str) -> Step:
    return Step(host, title, (Command(("true", title)),), (Command(("false", title)),), objects=objects)


def deployment_of(slice_: Slice) -> Plan:
    """Return a plan with the stages of a deployment."""
    hosts = (*WORKERS, NETWORK_NODE) if slice_.vms else ()
    guests = [(vm.worker_ip, vm.name) for vm in slice_.vms]
    return Plan(
        (
            Stage("preflight", tuple(step(host, "tools and bridge") for host in hosts)),
            Stage(
                "prepare",
                (
                    *(
                        step(worker, f"base image and overlay of {name}", f"{name}_img.qcow2")
                        for worker, name in guests
                    ),
                    *(step(NETWORK_NODE, f"VLAN {link.vlan_id}: gateway and DHCP", "gateway") for link in slice_.links),
                ),
            ),
            Stage("launch", tuple(step(worker, f"QEMU of {name}", name) for worker, name in guests)),
            Stage("verify", tuple(step(worker, f"process and ports of {name}") for worker, name in guests)),
        )
    )


def furnished(**options: Any) -> FakeAPI:
    """Return a cloud in which admin has one slice in design: 1000 (net1) with vm1 to vm3, vm1 and vm2 linked."""
    cloud = FakeAPI(**options)
    pace, cloud.pace = cloud.pace, 0.0
    cloud.create_slice("admin", "net1")
    for number in (1, 2, 3):
        cloud.add_vm_to_slice("admin", 1000, f"vm{number}", "cirros", 2, number == 1, lambda _event: None)
    cloud.create_link("admin", 1000, 1001, "eth1", 1002, "eth1")
    cloud.pace = pace
    return cloud


class Silent(FakeAPI):
    """A cloud without answering workers, with a thread that Python would wait for at exit."""

    def discover_workers(self) -> Answer[dict[str, Worker]]:
        with ThreadPoolExecutor() as pool:
            pool.submit(time.sleep, 30).result()
        return True, {}


def open_fake(database: Path) -> FakeAPI:
    """Return the API for a real program in a test's own process; the file's name chooses the cloud."""
    match database.stem:
        case "refused":
            raise Refused(f"{database}: line 3: users is missing")
        case "broken":
            raise ValueError("an unforeseen \x1b[31mfault\nof this")
        case "slow":
            return furnished(pace=0.3, down=("10.0.10.2",))
        case "silent":
            return Silent()
    return furnished(pace=float(os.environ.get("FAKE_PACE", "0")))


if __name__ == "__main__":
    cli.leave(cli.main(open_api=open_fake))  # type: ignore[arg-type]

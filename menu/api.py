"""What the menu needs from the orchestrator: the use-cases, as protocols, so that the menu depends on none of its code.

Every use-case answers `(True, value)` or `(False, "sentence")`; `value_of` gives the value or raises the sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from core.errors import CloudError
from core.inventory import Worker
from menu.proofs import Doctor, Prover, Verdict
from models import VM, Link, Record, Slice, User
from remote.console import Explained
from remote.events import Listener
from remote.plan import Plan
from topology.design import Design

if TYPE_CHECKING:
    from inspection.summary import SliceProblems

T = TypeVar("T")


def value_of(answer: tuple[bool, T | str]) -> T:
    """The value of a use-case's answer; `CloudError` with its sentence where it did not work."""
    ok, value = answer
    if not ok:
        raise CloudError(str(value))
    return cast("T", value)


class Accounts(Protocol):
    """The accounts; every method raises `errors.CloudError` where it cannot do what was asked."""

    def add(self, username: str, password: str, quota: int, role: str) -> object:
        """Make an account."""

    def set_password(self, username: str, password: str) -> object:
        """Replace the password."""

    def set_quota(self, username: str, quota: int) -> object:
        """Allow this many VMs."""

    def set_slices(self, username: str, count: int | None) -> object:
        """Set how many slices a user may have; None is the default of the role."""

    def most_slices(self, username: str) -> int:
        """Return how many slices a user may have at a time."""

    def set_role(self, username: str, role: str) -> object:
        """Make a student or an admin of a user."""

    def remove(self, username: str) -> object:
        """Remove an account that owns nothing."""

    def list(self) -> Iterable[User]:
        """All accounts."""


class OpenSession(Protocol):
    """A place that a session holds."""

    def close(self) -> None:
        """Free the place."""


class Loss(Protocol):
    """The losses of a slice with a worker."""

    @property
    def sentence(self) -> str:
        """Return what becomes of the slice."""


class Remains(Protocol):
    """The parts of slices on a worker that cannot be used."""

    @property
    def problem(self) -> str:
        """Return why it cannot be used."""

    @property
    def losses(self) -> Sequence[Loss]:
        """Return what each slice would lose."""


class WrittenOff(Protocol):
    """The result for a worker's slices."""

    @property
    def done(self) -> Iterable[str]:
        """Return what was written off, as sentences."""

    @property
    def unfinished(self) -> Iterable[str]:
        """Return what is still to be done."""


class Hosts(Protocol):
    """The workers; each method raises `errors.CloudError` where the worker may not be written off."""

    def examine(self, address: str) -> Remains:
        """Return what would be lost with the worker."""

    def forget(self, address: str) -> WrittenOff:
        """Write the worker off."""


class API(Protocol):
    """The use-cases of the menu; `orchestrator.OrchestratorAPI` has them.

    `actor` is who wishes for it: a student works on slices of their own, an admin on everybody's.
    """

    @property
    def accounts(self) -> Accounts:
        """Who may log in."""

    @property
    def doctor(self) -> Doctor:
        """Who compares the hosts with the database."""

    @property
    def hosts(self) -> Hosts:
        """Return what writes off workers that are dead for good."""

    @property
    def prover(self) -> Prover:
        """Who proves isolation."""

    def authenticate(self, username: str, password: str) -> tuple[bool, User | str]:
        """The user, when the password is right."""

    @property
    def idle_seconds(self) -> float:
        """The time without input after which a session ends."""

    def open_session(self, username: str) -> tuple[bool, OpenSession | str]:
        """Take one of the account's places for sessions; it is free again when the answer is closed."""

    def needs_new_password(self, username: str, password: str) -> bool:
        """Whether the password, which was right, has to be replaced before the menu opens."""

    def change_password(self, actor: str, current: str, new: str) -> tuple[bool, str | None]:
        """A new password for the user, who knows the current one."""

    def warning(self) -> str:
        """What is to be told once, besides answers; mostly nothing."""

    def flavors(self, actor: str) -> tuple[bool, Mapping[str, Record] | str]:
        """The sizes on offer, in the order of display."""

    def discover_workers(self) -> tuple[bool, dict[str, Worker] | str]:
        """All workers as they are now; takes as long as the deadline when one of them does not answer."""

    def most_slices(self, actor: str) -> tuple[bool, int | str]:
        """How many slices the user may have at a time."""

    def known_workers(self) -> tuple[bool, dict[str, Worker] | str]:
        """Return all workers as they were within the last minute; only what is older is measured again."""

    def get_user(self, actor: str) -> tuple[bool, User | str]:
        """The user with quota and use as they are now."""

    def list_slices(self, actor: str) -> tuple[bool, list[Slice] | str]:
        """The slices that the user may work on."""

    def get_slice(self, actor: str, slice_id: int) -> tuple[bool, Slice | str]:
        """One of them."""

    def read_design(self, actor: str, text: str) -> tuple[bool, Design | str]:
        """Return the design of a slice file."""

    def find_slice(self, actor: str, word: str) -> tuple[bool, Slice | str]:
        """Return the slice that a user means by an id, a name, or the beginning of a name."""

    def create_slice(self, actor: str, name: str) -> tuple[bool, Slice | str]:
        """A new, empty slice."""

    def add_vm_to_slice(
        self,
        actor: str,
        slice_id: int,
        name: str,
        flavor_name: str,
        data_interfaces_count: int,
        internet_enabled: bool,
        listen: Listener,
    ) -> tuple[bool, VM | str]:
        """A new VM, with its disk on a worker."""

    def create_link(
        self, actor: str, slice_id: int, vm1_id: int, vm1_interface: str, vm2_id: int, vm2_interface: str
    ) -> tuple[bool, Link | str]:
        """A new link between two data interfaces."""

    def deploy_slice(self, actor: str, slice_id: int, listen: Listener) -> tuple[bool, Slice | str]:
        """The slice, brought to life."""

    def repair_slice(self, actor: str, slice_id: int, listen: Listener) -> tuple[bool, list[str] | str]:
        """The parts of a running slice that were brought back."""

    def problems(self, actor: str) -> tuple[bool, dict[int, SliceProblems] | str]:
        """Return sentences about the problems of the user's running slices, by slice id."""

    def prove_isolation(self, actor: str) -> tuple[bool, Verdict | str]:
        """The isolation proof, as the user may see it."""

    def delete_slice(self, actor: str, slice_id: int, listen: Listener) -> tuple[bool, Slice | str]:
        """The slice that was removed."""

    def plan_slice(self, actor: str, slice_id: int) -> tuple[bool, Plan | str]:
        """What a deployment would do."""

    def unfinished(self, actor: str) -> tuple[bool, list[Slice] | str]:
        """The slices that a manager left half-done, and on which nobody works now."""

    def finish_slice(self, actor: str, slice_id: int, listen: Listener) -> tuple[bool, str]:
        """Bring what was left half-done to its end; the value is a sentence."""

    def take_back_slice(self, actor: str, slice_id: int, listen: Listener) -> tuple[bool, str]:
        """Take back what was left half-done; the value is a sentence."""

    @property
    def console_exits(self) -> tuple[str, ...]:
        """The keys that lead out of a console, as the settings name them."""

    def open_console(self, actor: str, vm_id: int, confirm: Callable[[str], bool]) -> tuple[bool, Explained | str]:
        """Open the serial console of a running VM; `confirm` asks whether to take it over from another user."""

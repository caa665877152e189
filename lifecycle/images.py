"""The use-cases of base images: add one to the manager, list all, bring one to workers, remove one. For admins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from os.path import exists
from pathlib import Path, PurePosixPath

from accounts import rights
from accounts.use_cases import UseCase
from core.errors import BadAnswer, CloudError, InvalidAnswer, Refused
from core.inventory import Inventory
from core.names import STAGED
from database import State
from images.copies import IMAGES, Copies, sizes
from images.digests import Digests
from images.folder import Folder, Made, usual_name
from lifecycle.use_cases import SliceUseCases
from remote import interrupts
from remote.events import Listener, ignore
from remote.images import HEADER_BYTES, fault_of, virtual_size
from remote.plan import Plan, Stage, Step
from remote.runner import Report, Runner

_STAGE_SHARE = 10
"""The duration of a stage, in times of the bound on silence."""


@dataclass(frozen=True)
class BaseImage:
    """A base image by its file name, under which workers know it; sizes in bytes.

    `path` is its place on the manager. Without a file there, `size`, `virtual_size` and `sha256` are None. `workers`
    are those that have a file of that name, each with its size. `problem` says why it can be no base image.
    """

    name: str
    path: str
    size: int | None
    virtual_size: int | None
    sha256: str | None
    flavors: tuple[str, ...]
    workers: Mapping[str, int]
    vms: tuple[int, ...]
    problem: str = ""


@dataclass(frozen=True)
class Listing:
    """All base images by name; `unseen` are workers that could not be looked at, with the reasons."""

    images: tuple[BaseImage, ...]
    unseen: Mapping[str, str]


@dataclass(frozen=True)
class Added:
    """A base image that was added to the manager."""

    made: Made

    @property
    def note(self) -> str:
        """Return the result for the audit log."""
        return f"{self.made.path.name}: added, SHA-256 {self.made.sha256}"


@dataclass(frozen=True)
class Staged:
    """A base image that is on workers: `brought` by this run, or `there` before it."""

    name: str
    brought: tuple[str, ...]
    there: tuple[str, ...]

    @property
    def note(self) -> str:
        """Return the result for the audit log."""
        return f"{self.name}: brought to {', '.join(self.brought) or 'no worker, all have it'}"


@dataclass(frozen=True)
class Removed:
    """A base image that is no longer on the manager, nor on any worker; `workers` are those that had it."""

    name: str
    workers: tuple[str, ...]

    @property
    def note(self) -> str:
        """Return the result for the audit log."""
        return f"{self.name}: removed"


@dataclass
class _Use:
    """The users of an image: flavors that name it, and VMs that are built on it; `paths` are where they expect it."""

    paths: set[str] = field(default_factory=set)
    flavors: list[str] = field(default_factory=list)
    vms: list[int] = field(default_factory=list)
    slices: set[int] = field(default_factory=set)


class Images(SliceUseCases):
    """Base images on the manager and on its workers."""

    @UseCase()
    def check(self, actor: str, source: str, name: str = "") -> Added:
        """Return the base image that `add` would make of a file, and leave nothing behind."""
        return self._make(actor, source, name, only_check=True)

    @UseCase("add image")
    def add(self, actor: str, source: str, name: str = "") -> Added:
        """Make a base image of a file of the manager; its usual name is that of the file."""
        return self._make(actor, source, name)

    @UseCase()
    def list(self, actor: str) -> Listing:
        """Return all base images: those in the manager's folder, those that flavors name, and those on workers."""
        state = self._database.load()
        rights.require_admin(state, actor, "see base images")
        on_workers, unseen = self._look(state)
        uses, folder = _uses(state), Folder(state.inventory.images)
        names = {*uses, *folder.names, *(name for found in on_workers.values() for name in found)}
        paths = {name: _path_of(name, uses, folder) for name in sorted(names)}
        digests = Digests(self._database.beside("images.json"), self._database.path).of(paths.values())
        images = (
            _described(path, uses.get(name, _Use()), digests.get(path), _having(name, on_workers))
            for name, path in paths.items()
        )
        return Listing(tuple(images), unseen)

    @UseCase()
    def plan_stage(self, actor: str, name: str, workers: Sequence[str] = ()) -> Plan:
        """Return the plan that brings a base image to workers, without running it."""
        return _stage_plan(self._admitted(actor), name, workers)

    @UseCase("stage image", announced=True)
    def stage(self, actor: str, name: str, workers: Sequence[str] = (), listen: Listener = ignore) -> Staged:
        """Bring a base image to workers, all at once; without names, to all. A failure on one stops no other."""
        with self._claimed(actor) as (state, fence):
            plan = _stage_plan(state, name, workers)
            report = self._run(plan, listen, fence)
            if report.error:
                self._run(report.rollback(), listen, fence, keep_going=True)
                raise _not_everywhere(report.error, report, name)
        brought = [result.step.host for result in report.results if result.changed]
        asked = dict.fromkeys(step.host for step in plan.steps)
        return Staged(name, tuple(brought), tuple(host for host in asked if host not in brought))

    @UseCase()
    def plan_removal(self, actor: str, name: str) -> Plan:
        """Return the plan that removes a base image from all workers, without running it."""
        state = self._admitted(actor)
        self._require_removable(state, name)
        return _removal_plan(state, name)

    @UseCase("remove image", announced=True)
    def remove(self, actor: str, name: str, listen: Listener = ignore) -> Removed:
        """Remove a base image from all workers, then from the manager. It stays there while a worker has it."""
        with self._claimed(actor) as (state, fence):
            self._require_removable(state, name)
            report = self._run(_removal_plan(state, name), listen, fence, keep_going=True)
            if report.error:
                raise _not_removed(report.error, report, name)
            Folder(state.inventory.images).remove(name)
        return Removed(name, tuple(result.step.host for result in report.results if result.changed))

    # --- parts --------------------------------------------------------------------------------------------------------

    def _make(self, actor: str, source: str, name: str, *, only_check: bool = False) -> Added:
        state = self._admitted(actor)
        folder, file = Folder(state.inventory.images), Path(source)
        wanted = usual_name(file, name)
        for path in sorted(_uses(state)[wanted].paths - {str(folder.file(wanted))}):
            raise Refused(
                f"{wanted} is the file name of another image, {path}, and workers know an image by its file name "
                "alone; choose another one (--name)"
            )
        return Added(folder.add(file, wanted, only_check=only_check))

    def _admitted(self, actor: str) -> State:
        state = self._database.load()
        rights.require_admin(state, actor, "change base images")
        return state

    @contextmanager
    def _claimed(self, actor: str) -> Iterator[tuple[State, int]]:
        """Hold the right to change base images on workers; yield the state as it is then, and the claim's fence.

        The file is locked while the claim is taken, so that the doctor sees it before it removes unfinished copies.
        """
        self._admitted(actor)
        with ExitStack() as claimed:
            with self._database.transaction():
                fence = claimed.enter_context(self._database.claim_images())
            yield self._admitted(actor), fence

    def _run(self, plan: Plan, listen: Listener, fence: int, *, keep_going: bool = False) -> Report:
        with interrupts.held(listen) as interrupted:
            return Runner(self._connect, listen, interrupted, fence).run(plan, keep_going=keep_going)

    def _look(self, state: State) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
        """Return the images of each worker with their sizes, and the reasons why workers could not be looked at."""
        copies, seconds = _copies(state.inventory), state.inventory.ssh.timeouts.read_only
        steps = tuple(copies.find(worker) for worker in _workers(state))
        plan = Plan((Stage("look", steps),), timeout=seconds, deadline=seconds, repeatable=True)
        found: dict[str, dict[str, int]] = {}
        unseen: dict[str, str] = {}
        for result in Runner(self._connect).run(plan).results:
            host, error = result.step.host, result.error
            try:
                if error is None:
                    found[host] = sizes(result.answers[IMAGES].stdout)
            except BadAnswer as fault:
                error = InvalidAnswer(host, str(fault))
            if error is not None:
                unseen[host] = str(error)
        return found, unseen

    def _require_removable(self, state: State, name: str) -> None:
        """Raise `Refused` where something builds on an image, or where there is none of that name."""
        use = _uses(state)[name]
        if use.flavors:
            raise Refused(
                f"{name} is the image of {_listed('flavor', use.flavors)}; take the flavor out of the database, or "
                "give it another image, first"
            )
        if use.vms:
            raise Refused(
                f"{len(use.vms)} VMs are built on {name}; delete {_listed('slice', sorted(use.slices))} first"
            )
        if name not in Folder(state.inventory.images).names and not _having(name, self._look(state)[0]):
            raise Refused(f"There is no base image {name}; image list shows all")


def _copies(inventory: Inventory) -> Copies:
    return Copies(inventory.hypervisor.images_path)


def _workers(state: State) -> list[str]:
    """Return the workers of all realms that were not written off."""
    listed = state.inventory.all_workers
    return [address for address in listed if address not in state.workers or not state.workers[address].forgotten]


def _uses(state: State) -> defaultdict[str, _Use]:
    """Return the users of each image, by the image's file name."""
    uses: defaultdict[str, _Use] = defaultdict(_Use)
    for name, flavor in state.all_flavors.items():
        for image in flavor.images:
            use = uses[PurePosixPath(image).name]
            use.paths.add(image)
            use.flavors.append(name)
    for slice_ in state.slices.values():
        for vm in slice_.vms:
            for image in vm.images:
                use = uses[PurePosixPath(image).name]
                use.paths.add(image)
                use.vms.append(vm.vm_id)
                use.slices.add(slice_.slice_id)
    return uses


def _path_of(name: str, uses: Mapping[str, _Use], folder: Folder) -> Path:
    """Return where the manager has an image, or should have it."""
    paths = [Path(path) for path in sorted(uses[name].paths)] if name in uses else []
    places = [*paths, folder.file(name)]
    return next((path for path in places if exists(path)), places[0])  # noqa: PTH110 - Path.exists fails below a folder that may not be read


def _described(path: Path, use: _Use, sha256: str | None, workers: Mapping[str, int]) -> BaseImage:
    size, problem = None, ""
    if sha256:
        with suppress(OSError), path.open("rb") as file:  # it may be removed meanwhile
            problem = fault_of(str(path), file.read(HEADER_BYTES))
            size = path.stat().st_size
    virtual = virtual_size(str(path)) if size else None
    return BaseImage(path.name, str(path), size, virtual, sha256, tuple(use.flavors), workers, tuple(use.vms), problem)


def _having(name: str, on_workers: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the workers that have an image, each with its size there."""
    return {address: found[name] for address, found in on_workers.items() if name in found}


def _stage_plan(state: State, name: str, workers: Sequence[str]) -> Plan:
    uses, folder, known = _uses(state), Folder(state.inventory.images), _workers(state)
    if name not in uses and name not in folder.names:
        raise Refused(f"There is no base image {name}; image list shows all")
    foreign = [worker for worker in workers if worker not in known]
    if foreign:
        raise Refused(f"{', '.join(foreign)}: no such worker; there are {', '.join(known) or 'none'}")
    image = str(_path_of(name, uses, folder))
    copies = _copies(state.inventory)
    return _change(state, "stage", (copies.cache(worker, image, STAGED) for worker in dict.fromkeys(workers or known)))


def _removal_plan(state: State, name: str) -> Plan:
    copies = _copies(state.inventory)
    return _change(state, "remove", (copies.remove(worker, name) for worker in _workers(state)))


def _change(state: State, title: str, steps: Iterable[Step]) -> Plan:
    seconds = state.inventory.ssh.timeouts.change
    return Plan((Stage(title, tuple(steps)),), lock="images", timeout=seconds, deadline=_STAGE_SHARE * seconds)


def _not_everywhere(error: CloudError, report: Report, name: str) -> CloudError:
    """Return the error of an image that did not reach all workers, with those that have it."""
    if not any(result.changed for result in report.results):
        return error
    reasons = _reasons(report) or {"": str(error)}
    have = [result.step.host for result in report.results if result.step.host not in reasons]
    sentences = "; ".join(dict.fromkeys(reasons.values()))
    return error.within(f"{sentences}; {name} is on {', '.join(have) or 'none of these workers'}")


def _not_removed(error: CloudError, report: Report, name: str) -> CloudError:
    """Return the error of an image that could not be removed from all workers."""
    reasons = _reasons(report)
    sentences = "; ".join(dict.fromkeys(reasons.values()))
    return error.within(
        f"{sentences}; {name} stays on {', '.join(reasons)} and on the manager: remove it again later (a worker that "
        "is dead for good: cli.py host forget)"
    )


def _reasons(report: Report) -> dict[str, str]:
    """Return the sentence of each worker that failed."""
    return {result.step.host: str(result.error) for result in report.failures}


def _listed(kind: str, names: Sequence[object]) -> str:
    return f"{kind}{'' if len(names) == 1 else 's'} {', '.join(map(str, names))}"

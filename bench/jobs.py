"""A plan's commands in the form for other contenders: a shell line per command, or a script per stage and host. Pure.

Guards, input and accepted statuses are part of a line, so every contender does exactly the work of the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.work import Work
from core.inventory import Inventory
from deployment import DeploymentAPI
from inspection.collect import collection_plan
from inspection.findings import Comparison
from models import Slice
from remote.batch import GO_FIRST, LOCK
from remote.plan import Action, Plan, Stage, Step, Upload, shell
from remote.root import USERS_SHELL

PHASES = ("design", "deploy", "status", "delete")
_END = "END-OF-INPUT"
_AS_USER = USERS_SHELL.removesuffix("sh -s")


@dataclass(frozen=True)
class Job:
    """A line for a POSIX shell in the SSH user's home, run as root, or as that user where `as_user` is set."""

    text: str
    as_user: bool


@dataclass(frozen=True)
class Turn:
    """A stage: the jobs of each host in order, hosts side by side."""

    title: str
    jobs: dict[str, list[Job]]
    scripts: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the turn as a record for a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Return the turn of a record."""
        jobs = {host: [Job(**job) for job in found] for host, found in record["jobs"].items()}
        return cls(record["title"], jobs, record["scripts"])


Life = dict[str, list[Turn]]
"""Phase -> stages in order; slice after slice, as one person deploys them from the menu."""


def life(work: Work, inventory: Inventory, image: Path) -> Life:
    """Return all that is done on the hosts for `work`, from its overlays to its deletion."""
    slices = work.slices(inventory, image)
    lives = [life_of(slice_, inventory) for slice_ in slices]
    joined = {phase: [turn for one in lives for turn in one[phase]] for phase in PHASES}
    return {**joined, "status": collect(slices, inventory)}


def life_of(slice_: Slice, inventory: Inventory) -> Life:
    """Return the same for one slice."""
    deployment = DeploymentAPI(inventory)
    deploy = deployment.deploy_plan(slice_)
    return {
        "design": turns(deployment.disk_plan(slice_, slice_.vms)),
        "deploy": turns(deploy),
        "status": collect([slice_], inventory),
        "delete": turns(deploy.undone("remove")),
    }


def collect(slices: Sequence[Slice], inventory: Inventory) -> list[Turn]:
    """Return the collection of facts from every host of the slices, in one stage for any number of slices."""
    return turns(collection_plan(inventory, Comparison(inventory).hosts_of(slices)))


def turns(plan: Plan) -> list[Turn]:
    """Return the stages of a plan."""
    return [_turn(stage) for stage in plan.stages]


def together(found: Sequence[Turn], title: str) -> Turn:
    """Return stages as one: all the work of each host at once."""
    hosts = dict.fromkeys(host for turn in found for host in turn.jobs)
    jobs = {host: [job for turn in found for job in turn.jobs.get(host, ())] for host in hosts}
    scripts = {host: "".join(turn.scripts.get(host, "") for turn in found) for host in hosts}
    return Turn(title, jobs, scripts)


def program(body: str) -> str:
    """Return the input for `sh -s` on a host; a function, so that no command reads the rest of the script."""
    lines = ("batch() {", "umask 022; export LC_ALL=C", f"{body}}}", "batch </dev/null", "")
    return "\n".join(lines)


def _turn(stage: Stage) -> Turn:
    jobs = {host: [_job(action) for step in steps for action in step.do] for host, steps in stage.by_host.items()}
    scripts = {host: f"{GO_FIRST}\n" + "".join(map(_in_script, steps)) for host, steps in stage.by_host.items()}
    return Turn(stage.title, jobs, scripts)


def _job(action: Action) -> Job:
    return Job(_line(action, ""), action.as_user)


def _in_script(step: Step) -> str:
    """Return the step's lines, ended by the first failure; processes left running do not inherit the lock."""
    lines = list(_step_lines(step))
    if step.lock and lines:
        lines = [f"exec 9<{LOCK} && flock 9 || exit", *lines, "exec 9<&-"]
    return "".join(f"{line}\n" for line in lines)


def _step_lines(step: Step) -> Iterator[str]:
    for action in step.do:
        prefix = _AS_USER if action.as_user else ""
        yield f"{{\n{_line(action, prefix, ' 9<&-' if step.lock else '')}\n}} || exit"


def _line(action: Action, prefix: str, suffix: str = "") -> str:
    """Return the command with its guard.

    A file to be copied has to exist already, because the floor has no manager to copy it from.
    """
    if isinstance(action, Upload):
        return f"{prefix}{shell(action.unless)}"
    command = f"{prefix}{shell(action.argv)}{suffix}"
    if action.stdin:
        command += f" <<'{_END}'\n{action.stdin.rstrip(chr(10))}\n{_END}"
    if action.ok != (0,):
        command += f"\ncase $? in {'|'.join(map(str, action.ok))}) ;; *) exit 1;; esac"
    if not action.unless:
        return command
    return "\n".join((f"if {prefix}{shell(action.unless)} >/dev/null 2>&1; then :; else", command, "fi"))

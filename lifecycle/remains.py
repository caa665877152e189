"""Say what a change left on hosts, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from core.errors import CloudError, FileFault, HostUnreachable, Refused
from models import Slice
from remote.plan import Plan, Stage
from remote.runner import Report


def elsewhere(plan: Plan, lost: Collection[str]) -> Plan:
    """Return the plan without the steps of lost hosts."""
    stages = (Stage(s.title, tuple(step for step in s.steps if step.host not in lost)) for s in plan.stages)
    return replace(plan, stages=tuple(stage for stage in stages if stage.steps))


def left_by(report: Report) -> dict[str, CloudError]:
    """Return the objects that a rollback or removal left: title and host -> error.

    An unfinished copy on a lost host is not listed beside other objects there: it is removed with them.
    """
    whole = {r.step.host for r in report.failures if not r.step.residue}
    listed = (r for r in report.failures if not (r.step.residue and r.step.host in whole and is_lost(r.error)))
    return {f"{r.step.title} on {r.step.host}": r.error for r in listed if r.error}


def first_of(left: Mapping[str, CloudError]) -> CloudError:
    """Return the error that kept the first object from being removed."""
    return next(iter(left.values()))


def is_lost(error: CloudError | None) -> bool:
    """Return whether a host was lost."""
    return isinstance(error, HostUnreachable)


def left_to_do(left: dict[str, CloudError], advice: str, slice_: Slice) -> str:
    """Return a sentence with reasons, objects left, the advice, and the way out for workers that do not come back."""
    reasons = "; ".join(dict.fromkeys(str(error) for error in left.values()))
    return f"{reasons}; left: {', '.join(left)}; {advice}{way_out(left.values(), slice_)}"


def way_out(errors: Iterable[CloudError], slice_: Slice) -> str:
    """Return what to do about workers that do not come back, as the rest of a sentence."""
    lost = {error.host for error in errors if isinstance(error, HostUnreachable)}
    hosts = sorted(lost & {vm.worker_ip for vm in (*slice_.vms, *slice_.leaving)})
    return "".join(f"; if it is dead for good, an operator runs: cli.py host forget {host}" for host in hosts)


@contextmanager
def said_first(sentence: str) -> Iterator[None]:
    """Begin the error of a file that cannot be saved with this sentence: the hosts were changed, the file was not."""
    try:
        yield
    except FileFault as fault:  # only operators may read the file's name
        public = f"{sentence}: tell the operator (the audit log says more), then log in again to finish it"
        raise FileFault(f"{sentence}: {fault}; then log in again to finish it", public, begun=True) from fault
    except Refused as error:
        raise CloudError(f"{sentence}: {error}; then log in again to finish it") from error

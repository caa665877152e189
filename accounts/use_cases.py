"""The boundary of the use-cases: it turns errors into results and writes acts into the audit log."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Concatenate, ParamSpec, TypeVar

from accounts import rights
from accounts.audit import UNKNOWN, Audit, AuditEntry
from core.errors import CloudError, FileFault
from core.results import Failure, Noted, Result
from database import Store
from models import VM, Slice
from remote.events import Event, Listener, StageStarted, ignore


class UseCases:
    """The base of a class with use-cases. `operators` are the users to whom faults of the file are shown in full.

    They are kept in this set, because the file may be unreadable later.
    """

    def __init__(self, database: Store, audit: Audit, operators: set[str]) -> None:
        self._database = database
        self._audit = audit
        self._operators = operators


C = TypeVar("C", bound=UseCases)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class UseCase:
    """The declaration of a use-case, as a decorator of its method.

    `action`: its name in the audit log; a use-case without one only reads. `announced`: the log also has its beginning,
    before the first command goes to a host, because the manager may die before the end.
    """

    action: str = ""
    announced: bool = False

    def __call__(self, method: Callable[Concatenate[C, P], T]) -> Callable[Concatenate[C, P], Result[T]]:
        """Return the method with results instead of errors."""
        signature = inspect.signature(method)

        @functools.wraps(method)
        def answer(api: C, /, *args: P.args, **kwargs: P.kwargs) -> Result[T]:
            bound = signature.bind(api, *args, **kwargs)
            given = bound.arguments
            entry = AuditEntry(str(given.get("actor", UNKNOWN)), self.action, given.get("slice_id"), given.get("vm_id"))
            try:
                if not self.action:
                    return True, method(api, *args, **kwargs)
                with api._audit.noted(entry):
                    if self.announced:
                        given["listen"] = _announcing(api._audit, entry, given.get("listen", ignore))
                    value = method(*bound.args, **bound.kwargs)
                    _fill_in(api._database, entry, value)
                    return True, value
            except FileFault as fault:
                if not self.action:
                    action = method.__name__.replace("_", " ")
                    api._audit.write(replace(entry, action=action), str(fault), 0.0, refused=True)
                return False, Failure(fault if entry.actor in api._operators else fault.for_users())
            except CloudError as error:
                return False, Failure(error)

        return answer


def _announcing(audit: Audit, entry: AuditEntry, listen: Listener) -> Listener:
    """Return a listener that also writes the beginning of `entry` when the first stage starts."""

    def heard(event: Event) -> None:
        if isinstance(event, StageStarted):
            audit.begin(entry)
        listen(event)

    return heard


def _fill_in(database: Store, entry: AuditEntry, value: object) -> None:
    """Complete the ids and the result of an entry from the value of its use-case."""
    match value:
        case Slice():
            entry.slice_id = value.slice_id
        case VM():
            entry.vm_id = value.vm_id
        case Noted():
            entry.result = value.note
    if entry.vm_id and entry.slice_id is None:
        visible = rights.visible(database.load(), entry.actor)
        entry.slice_id = next((slice_.slice_id for slice_ in visible if slice_.vm(entry.vm_id)), None)

"""Tell when the VMs of a slice are ready, from the signs of life that its hosts see."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from accounts import rights
from accounts.use_cases import UseCase
from core.errors import BadAnswer, CloudError, InvalidAnswer
from lifecycle.signs import BAD_PATTERNS, Seen, SignsOfLife, VMSigns
from lifecycle.use_cases import SliceUseCases
from remote.runner import Runner, StepResult

PAUSE_SECONDS = 1.0
"""Time between two looks at the hosts."""


@dataclass(frozen=True)
class Look:
    """The known signs of a slice's running VMs, and the errors of hosts that gave no answer this time.

    `seen` are the words of hosts about each VM, for the next look.
    """

    vms: tuple[VMSigns, ...]
    errors: tuple[str, ...]
    seen: Seen

    @property
    def ready(self) -> bool:
        """Return whether all VMs are ready."""
        return all(vm.ready for vm in self.vms)

    @property
    def late(self) -> tuple[VMSigns, ...]:
        """Return the VMs that are not ready."""
        return tuple(vm for vm in self.vms if not vm.ready)


Watch = Callable[[Look, float], bool]
"""Shows a look, waits until the next one is due in so many seconds, and returns whether to go on."""


def pause(_look: Look, seconds: float) -> bool:
    """Wait and go on."""
    time.sleep(seconds)
    return True


class Readiness(SliceUseCases):
    """Looks at the hosts of a slice for signs of life, once or until its VMs are ready."""

    @UseCase()
    def look(self, actor: str, slice_id: int) -> Look:
        """Return the signs of the running VMs of a slice, in one round trip to each host."""
        return self._look(actor, slice_id, {}, once=True)

    @UseCase()
    def wait(self, actor: str, slice_id: int, seconds: float | None = None, watch: Watch = pause) -> Look:
        """Look again and again until all VMs are ready, the time is over, or `watch` ends it; return the last look.

        `seconds`: None waits as long as the flavor that takes the longest may (`ready_timeout`).
        """
        began = time.monotonic()
        seen: Seen = {}
        while True:
            look = self._look(actor, slice_id, seen)
            limit = max((vm.timeout for vm in look.vms), default=0) if seconds is None else seconds
            left, seen = began + limit - time.monotonic(), look.seen
            if look.ready or left <= 0 or not watch(look, min(PAUSE_SECONDS, left)):
                return look

    def _look(self, actor: str, slice_id: int, seen: Seen, *, once: bool = False) -> Look:
        """Return what is known now; what was seen before is not asked again."""
        state = self._database.load()
        slice_ = rights.permitted(state, actor, slice_id)
        signs = SignsOfLife(state.inventory_of(slice_), slice_)
        known = {vm_id: words - {BAD_PATTERNS} for vm_id, words in seen.items()}
        errors = []
        for result in Runner(self._connect).run(signs.plan(seen, once=once)).results:
            try:
                found = _words(signs, result)
            except CloudError as error:
                errors.append(str(error))
                continue
            for vm_id, words in found.items():
                known[vm_id] = known.get(vm_id, frozenset()) | words
        return Look(tuple(signs.result(known)), tuple(errors), known)


def _words(signs: SignsOfLife, result: StepResult) -> Seen:
    """Return the words of a host about each VM; raise `CloudError` where it gave none."""
    if result.error:
        raise result.error
    try:
        return signs.parse(result.step.host, result.stdout)
    except BadAnswer as fault:
        raise InvalidAnswer(result.step.host, str(fault)) from fault

"""A manager that dies on purpose: one use-case in its own process, which ends itself by SIGKILL at a moment.

`python mortal.py DATABASE ACTION SLICE [KIND NUMBER [SIGNAL]]` runs in a manager's network. SIGSTOP as SIGNAL only
makes it wait. Moments are counted from 1, separately for each kind:

- `stage`: a stage begins;
- `batch`: a batch is sent to a host;
- `bytes`: the first bytes of a batch's answer arrive;
- `step`: a step succeeds or fails;
- `piece`: a piece of a file is sent;
- `file`: before and after each use of the database.

Without a moment the manager lives. At the end it prints the answer and the counts as JSON, with the
number of steps that failed on each host.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))


from core.inventory import SSHSettings
from database import State, Store, open_store
from orchestrator import OrchestratorAPI
from remote.events import Event, InterruptNoted, Listener, StageStarted, StepFailed, Transferred
from remote.host import ShellChannel
from remote.ssh import SSHHost
from remote.transcript import Transcript
from storage.location import location_of
from topology.design import DesignedLink, DesignedVM, End
from topology.edits import with_link, without_link, without_vms
from topology.of_slice import present_design
from topology.templates import make

USER = "admin"
SIZE = 4


class Fate:
    """The counter of moments, which sends the process a signal at its last one."""

    def __init__(self, last: tuple[str, int] | None, number: signal.Signals = signal.SIGKILL) -> None:
        self.counts: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._last = last
        self._signal = number
        self._lock = threading.Lock()

    def meets(self, kind: str) -> None:
        with self._lock:
            self.counts[kind] += 1
            if (kind, self.counts[kind]) == self._last:
                os.kill(os.getpid(), self._signal)

    def listen(self, event: Event) -> None:
        match event:
            case StageStarted():
                self.meets("stage")
            case Transferred():
                self.meets("piece")
            case InterruptNoted():
                pass
            case StepFailed():
                self.failed[event.step.host] += 1
                self.meets("step")
            case _:
                self.meets("step")


def counted(store: Store, fate: Fate) -> Store:
    """Return the store, which reports each of its uses from now on."""
    plain = store.transaction

    @contextmanager
    def transaction() -> Iterator[State]:
        fate.meets("file")
        with plain() as state:
            yield state
        fate.meets("file")

    store.transaction = transaction  # type: ignore[method-assign]
    return store


class CountedHost(SSHHost):
    """A host that reports when a batch is sent and when its first output arrives."""

    def __init__(self, address: str, settings: SSHSettings, fate: Fate) -> None:
        super().__init__(address, settings)
        self._fate = fate

    def _pieces(
        self, channel: ShellChannel, transcript: Transcript, timeout: float, first_timeout: float
    ) -> Iterator[Callable[[], None]]:
        self._fate.meets("batch")
        for number, receive in enumerate(super()._pieces(channel, transcript, timeout, first_timeout)):
            if number == 0:
                self._fate.meets("bytes")
            yield receive


def design(api: OrchestratorAPI, slice_id: int) -> Any:
    """Create a ring whose VMs all have internet and return its id; SLICE is not used."""
    made = _value(api.create_slice(USER, f"ring{slice_id}"))
    vms = [_value(api.add_vm_to_slice(USER, made.slice_id, f"vm{n}", "blank", 2, True)) for n in range(SIZE)]
    for n, vm in enumerate(vms):
        _value(api.create_link(USER, made.slice_id, vm.vm_id, "eth1", vms[(n + 1) % SIZE].vm_id, "eth2"))
    return True, made.slice_id


def change(api: OrchestratorAPI, slice_id: int, listen: Listener, *, back: bool) -> Any:
    """Exchange a link of a running ring for a VM with a link, or the other way round."""
    now = present_design(_value(api.get_slice(USER, slice_id)))
    first, more = now.vms[0].name, DesignedVM("more", "blank", 1)
    if back:
        wanted = without_vms(now, [more.name])
        link = DesignedLink((End(first, 1), End(now.vms[1].name, 2)))
    else:
        wanted = without_link(now, now.link_names()[0])
        wanted, link = replace(wanted, vms=(*now.vms, more)), DesignedLink((End(first, 1), End(more.name, 1)))
    return api.edits.apply(USER, slice_id, with_link(wanted, link), listen, from_file=False)


def main() -> None:
    """Run ACTION, and print the result."""
    path, action, slice_id, *moment = sys.argv[1:]
    fate = Fate((moment[0], int(moment[1])) if moment else None, *(signal.Signals[name] for name in moment[2:]))
    database = counted(open_store(location_of(path)), fate)
    settings = database.load().inventory.ssh
    hosts: dict[str, CountedHost] = {}
    api = OrchestratorAPI(database, lambda address: hosts.setdefault(address, CountedHost(address, settings, fate)))
    number, listen = int(slice_id), fate.listen
    actions: dict[str, Callable[[], Any]] = {
        "design": partial(design, api, number),
        "create": partial(api.designs.create, USER, make(f"ring:{SIZE}", "created", "copied", "first"), listen),
        "add": partial(api.add_vm_to_slice, USER, number, "added", "copied", 1, True, listen),
        "deploy": partial(api.deploy_slice, USER, number, listen),
        "change": partial(change, api, number, listen, back=False),
        "change back": partial(change, api, number, listen, back=True),
        "reset": partial(api.power.reset, USER, number, (), listen),
        "stop": partial(api.power.stop, USER, number, (), listen, now=True),
        "start": partial(api.power.start, USER, number, (), listen),
        "delete": partial(api.delete_slice, USER, number, listen),
        "finish": partial(api.finish_slice, USER, number, listen),
        "take back": partial(api.take_back_slice, USER, number, listen),
    }
    done, answer = actions[action]()
    print(json.dumps({"done": done, "answer": str(answer), "counts": fate.counts, "failed": fate.failed}))  # noqa: T201


def _value(answer: tuple[bool, Any]) -> Any:
    assert answer[0], answer[1]
    return answer[1]


if __name__ == "__main__":
    main()

"""A session that adds VMs to its slice, on hosts that do everything at once: only the store is used for real.

`python adder.py DATABASE USER SLICES VMS` creates slices, prints `ready`, and adds VMs to each of them after a line of
input. At the end it prints their ids, its transactions, and the seconds of the slowest one, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from database import State, open_store
from orchestrator import OrchestratorAPI
from storage.location import location_of
from tests.support.many import WillingHost


def main() -> None:
    """Add the VMs."""
    location, user, slices, vms = sys.argv[1:]
    store, seconds = open_store(location_of(location)), list[float]()
    plain = store.transaction

    @contextmanager
    def timed() -> Iterator[State]:
        began = time.monotonic()
        with plain() as state:
            yield state
        seconds.append(time.monotonic() - began)

    store.transaction = timed  # type: ignore[method-assign]
    api = OrchestratorAPI(store, lambda _address: WillingHost())
    made = [_value(api.create_slice(user, f"crowd{n}")).slice_id for n in range(int(slices))]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    seconds.clear()
    names = [f"vm{n}" for n in range(int(vms))]
    added = [_value(api.add_vm_to_slice(user, id_, name, "cirros", 1)).vm_id for name in names for id_ in made]
    sys.stdout.write(json.dumps({"vms": added, "transactions": len(seconds), "worst": max(seconds)}) + "\n")


def _value(answer: tuple[bool, Any]) -> Any:
    assert answer[0], answer[1]
    return answer[1]


if __name__ == "__main__":
    main()

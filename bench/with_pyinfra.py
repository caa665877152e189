"""pyinfra as a contender: our plan's commands as `server.shell`, one operation each, through its own API.

It runs in the benchmark's own Python environment, in the manager's namespace: `python -m bench.with_pyinfra FILE`,
where FILE has the hosts and the jobs. Hosts run side by side and do not wait for each other before the end of a stage,
as with `--no-wait`. Connections are made once. It reads phases and answers like `bench.driver`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from gevent import monkey

monkey.patch_all()  # before any other import, as pyinfra's documentation says

import gevent  # noqa: E402
from pyinfra.api import Config, Inventory, State  # noqa: E402
from pyinfra.api.connect import connect_all  # noqa: E402
from pyinfra.api.operation import add_op  # noqa: E402
from pyinfra.api.operations import run_host_op  # noqa: E402
from pyinfra.context import ctx_host, ctx_state  # noqa: E402
from pyinfra.operations import server  # noqa: E402


class WithPyinfra:
    """One process with one state; the operations of a stage are added and then run."""

    def __init__(self, record: dict[str, Any]) -> None:
        self._life = record["life"]
        inventory = Inventory((record["hosts"], record["ssh"]))
        self._state = State(inventory, Config(PARALLEL=len(record["hosts"])), check_for_changes=False)
        self._done: dict[Any, int] = {}

    def run(self, phase: str) -> dict[str, Any]:
        """Run a phase."""
        if phase == "ready":
            return {}
        if phase == "connect":
            connect_all(self._state)
            return {}
        wall_times: dict[str, float] = {}
        for turn in self._life[phase]:
            began = time.monotonic()
            self._stage(turn["jobs"])
            wall_times[turn["title"]] = wall_times.get(turn["title"], 0.0) + time.monotonic() - began
        return {"wall_times": wall_times}

    def _stage(self, jobs: dict[str, list[dict[str, Any]]]) -> None:
        hosts = {host.name: host for host in self._state.inventory}
        for address, found in jobs.items():
            for job in found:
                add_op(self._state, server.shell, commands=[job["text"]], host=hosts[address], _sudo=not job["as_user"])
        self._state.is_executing = True
        running = [self._state.pool.spawn(self._host, hosts[address]) for address in jobs]
        gevent.joinall(running, raise_error=True)
        self._state.is_executing = False

    def _host(self, host: Any) -> None:
        """Yield the operations that were added for a host since the last stage, in order."""
        first = self._done.get(host, 0)
        self._done[host] = len(host.op_hash_order)
        with ctx_state.use(self._state), ctx_host.use(host):
            for operation in host.op_hash_order[first:]:
                if not run_host_op(self._state, host, operation):
                    raise RuntimeError(f"pyinfra: an operation failed on {host.name}")


def main() -> None:
    """Answer requests until the input ends."""
    contender = WithPyinfra(json.loads(Path(sys.argv[1]).read_text()))
    for line in sys.stdin:
        began = time.monotonic()
        try:
            answer = contender.run(line.strip())
        except Exception as error:  # noqa: BLE001 - the parent has to know, and to take its lab down
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps({"seconds": time.monotonic() - began, **answer}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

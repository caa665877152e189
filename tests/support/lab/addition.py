"""Adds two VMs to a running slice, fails at the last step, and rolls back; run inside the lab.

`python -m tests.support.lab.addition DATABASE SLICE WORKER` adds the VMs on that worker, with a link between them and
with internet. It prints the error of the run, the objects of the first VM that were there then, and the errors of the
rollback, as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from allocation.taken import taken_by
from core.inventory import Worker
from core.names import process_name, tap_name
from database import Database
from deployment import DeploymentAPI
from models import VM, Slice
from remote.plan import Command, Stage, Step
from remote.runner import Runner
from remote.ssh import Connections


def addition(database: str, slice_id: int, worker: str) -> dict[str, object]:
    state = Database(database).load()
    deployment, slice_ = DeploymentAPI(state.inventory), state.slices[slice_id]
    for number, name in enumerate(("late", "later")):
        deployment.create_vm_with_qcow(
            slice_, state.next_vm_id + number, name, "cirros", state.all_flavors["cirros"], 1,
            internet_enabled=True, workers={worker: Worker(64, 64.0, 500.0)}, taken=taken_by([slice_]),
        ).vnc_secret = "secret"  # fmt: skip
    *_, vm, other = slice_.vms
    slice_.connect(vm.vm_id, "eth1", other.vm_id, "eth1")
    plan = deployment.deploy_plan(slice_)
    failing = Stage("fail", (_look(slice_, vm), Step(vm.worker_ip, "luck", (Command(("false",)),))))
    connections = Connections(state.inventory.ssh)
    report = Runner(connections.host).run(replace(plan, stages=(*plan.stages, failing)))
    between = next((result.stdout for result in report.results if result.step.title == "late VM"), "")
    back = Runner(connections.host).run(report.rollback(), keep_going=True)
    connections.close()
    return {
        "error": str(report.error),
        "between": between.split(),
        "back": [str(result.error) for result in back.failures],
    }


def _look(slice_: Slice, vm: VM) -> Step:
    """Return the step that names the process and the port of the new VM."""
    script = """
    tr '\\0' '\\n' </proc/"$(cat "$1")"/cmdline | grep -x "$2"
    ovs-vsctl --columns=name --format=csv --no-headings find Port name="$3" """
    files = f"vm_images/slice-{slice_.slice_id}/{vm.name}.pid"
    words = (files, process_name(slice_.slice_id, vm.vm_id), tap_name(vm.vm_id, "eth1"))
    return Step(vm.worker_ip, "late VM", (Command(("sh", "-c", script, "sh", *words)),))


if __name__ == "__main__":
    print(json.dumps(addition(sys.argv[1], int(sys.argv[2]), sys.argv[3])))  # noqa: T201

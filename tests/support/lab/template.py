"""Adds 20 VMs at once to a slice in design, undoes it, and prints the costs; run inside the lab.

`python -m tests.support.lab.template DATABASE SLICE` prints the round trips to each worker and its disks in between, as
JSON.
"""

from __future__ import annotations

import json
import sys

from allocation.taken import taken_by
from core.inventory import Worker
from database import Database
from deployment import DeploymentAPI
from remote.plan import Command, Plan, Stage, Step
from remote.runner import Report, Runner
from remote.ssh import Connections

VMS = 20


def template(database: str, slice_id: int) -> dict[str, list[int]]:
    state = Database(database).load()
    workers = state.inventory.workers_list
    deployment, slice_ = DeploymentAPI(state.inventory), state.slices[slice_id]
    for number in range(VMS):
        deployment.create_vm_with_qcow(
            slice_, slice_id + 1 + number, f"vm{number}", "cirros", state.all_flavors["cirros"], 1,
            internet_enabled=False, workers=dict.fromkeys(workers, Worker(64, 64.0, 500.0)), taken=taken_by([slice_]),
        )  # fmt: skip
    connections = Connections(state.inventory.ssh)
    plan = deployment.disk_plan(slice_, slice_.vms)
    _done(Runner(connections.host).run(plan))
    trips = [connections.host(worker).round_trips for worker in workers]
    count = Command(("sh", "-c", 'ls "$1" | grep -c _img.qcow2', "sh", f"vm_images/slice-{slice_id}"), as_user=True)
    look = Plan((Stage("look", tuple(Step(worker, "disks", (count,)) for worker in workers)),))
    disks = [int(result.stdout) for result in _done(Runner(connections.host).run(look)).results]
    _done(Runner(connections.host).run(plan.undone("take back"), keep_going=True))
    connections.close()
    return {"round trips": trips, "disks": disks}


def _done(report: Report) -> Report:
    assert not report.error, report.error
    return report


if __name__ == "__main__":
    print(json.dumps(template(sys.argv[1], int(sys.argv[2]))))  # noqa: T201

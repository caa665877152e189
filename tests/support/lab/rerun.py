"""Runs the plan of a slice once more and prints its changes; run inside the lab, where the hosts are."""

from __future__ import annotations

import sys

from database import Database
from deployment import DeploymentAPI
from remote.runner import Runner
from remote.ssh import Connections


def rerun(database: str, slice_id: int) -> str:
    state = Database(database).load()
    connections = Connections(state.inventory.ssh)
    report = Runner(connections.host).run(DeploymentAPI(state.inventory).deploy_plan(state.slices[slice_id]))
    connections.close()
    changed = [result.step.title for result in report.results if result.changed and result.step.undo]
    return f"error: {report.error}\nchanged: {changed}\n"


if __name__ == "__main__":
    sys.stdout.write(rerun(sys.argv[1], int(sys.argv[2])))

"""What the workers have, measured: for placement, and for whoever looks at quota and resources."""

from __future__ import annotations

import time
from dataclasses import replace

from database import Database
from deployment import DeploymentAPI
from errors import UNUSABLE, BadAnswer, CloudError, CommandFailed, HostUnreachable, InvalidAnswer, printable
from inventory import Worker
from placement import recount
from remote.runner import Runner, StepResult

CLEAR_FIRST = "it was written off and answers again; it gets VMs when cli.py doctor --fix has cleared it"


class Discovery:
    """Looks at all workers of the inventory at once and notes in the database what it saw."""

    def __init__(self, database: Database, deployment: DeploymentAPI, runner: Runner) -> None:
        self._database = database
        self._deployment = deployment
        self._runner = runner

    def workers(self) -> dict[str, Worker]:
        """Address -> what was measured; of one that does not answer, what is known from before, and why it is down."""
        report = self._runner.run(self._deployment.discovery_plan())
        found = {result.step.host: self._measured(result) for result in report.results}
        with self._database.transaction() as state:
            for address, worker in found.items():
                known = state.workers.get(address, Worker())
                if not worker.up:
                    state.workers[address] = replace(known, up=False, problem=worker.problem)
                elif known.forgotten:  # what it still runs would meet the VMs that are placed there
                    state.workers[address] = replace(worker, up=False, forgotten=True, problem=CLEAR_FIRST)
                else:
                    state.workers[address] = worker
            for gone in state.workers.keys() - found.keys():
                if not state.workers[gone].forgotten:
                    del state.workers[gone]
            recount(state.workers, state.slices.holdings.values())
            return {address: worker for address, worker in state.workers.items() if address in found}

    def _measured(self, result: StepResult) -> Worker:
        """The worker as it answered; one whose answer makes no sense gets no VMs."""
        try:
            if not result.error:
                return self._deployment.measured(result.stdout, time.time())
            error: CloudError = result.error
        except BadAnswer as fault:
            error = InvalidAnswer(result.step.host, str(fault))
        if isinstance(error, HostUnreachable):
            return Worker(up=False, problem=error.problem)
        said = str(error).removeprefix(f"{error.host}: ") if isinstance(error, CommandFailed) else str(error)
        return Worker(up=False, problem=f"{UNUSABLE}: {printable(said)}")

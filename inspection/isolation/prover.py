"""Carries out the isolation proof: looks, asks the probes, and judges."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import Refused
from core.status import SliceStatus
from database import Database
from inspection.inspector import Inspector
from inspection.isolation import probes
from inspection.isolation.probes import Probe, Probes
from inspection.isolation.proof import Proof, Property
from models import ADMIN
from remote.runner import Runner


@dataclass(frozen=True)
class Verdict:
    """The properties with their breaches, and the hosts of which not everything could be seen."""

    properties: tuple[Property, ...]
    unseen: tuple[str, ...]

    @property
    def breaches(self) -> int:
        """How many."""
        return sum(len(each.breaches) for each in self.properties)


class Prover:
    """Proves isolation for all slices; what one user is shown of it are counts, and their own slices."""

    def __init__(self, database: Database, inspector: Inspector, runner: Runner) -> None:
        self._database = database
        self._inspector = inspector
        self._runner = runner

    def prove(self) -> Verdict:
        """All properties on all hosts. Slices that are being changed just now count as neighbours only."""
        inventory = self._inspector.inventory
        survey = self._inspector.survey(self._database.load().slices.values(), inventory.hosts, thorough=True)
        look, slices = survey.look, survey.slices
        for slice_ in slices:
            if slice_.status == SliceStatus.RUNNING and survey.is_busy(slice_.slice_id):
                slice_.status = SliceStatus.DEPLOYING
        seen = Proof(inventory, slices, look.sights).properties()
        asked = Probes(inventory, slices, look.sights).all()
        answers = self._ask(asked)
        unseen = {*look.partly, *(probe.host for probe in asked if probe.host not in answers)}
        verdicts = probes.verdicts(asked, answers)
        return Verdict((*seen, *verdicts), tuple(host for host in inventory.hosts if host in unseen))

    def prove_for(self, actor: str) -> Verdict:
        """The same as one user is shown it."""
        state = self._database.load()
        user = state.users.get(actor)
        if user is None:
            raise Refused(f"There is no user {actor} any more")
        own = [number for number, holdings in state.slices.holdings.items() if user.may_work_on(holdings)]
        verdict = self.prove()
        if user.role == ADMIN:
            return verdict
        return Verdict(tuple(each.seen_by(own) for each in verdict.properties), verdict.unseen)

    def _ask(self, asked: list[Probe]) -> dict[str, list[str]]:
        """What the hosts answer; one that was lost meanwhile answers nothing."""
        seconds = self._inspector.inventory.ssh.timeouts.look
        results = self._runner.run(probes.probe_plan(asked, seconds)).results if asked else []
        return {r.step.host: [f"{o.stdout}{o.stderr}" for o in r.outcomes] for r in results if not r.error}

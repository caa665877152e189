"""Carry out the isolation proof: collect facts, run the probes, and judge both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import Refused
from core.status import SliceStatus
from database import Store
from inspection.inspector import Inspector
from inspection.isolation import probes, tunnel_proof
from inspection.isolation.probes import Probe, Probes
from inspection.isolation.proof import Proof, Property
from models import ADMIN
from remote.host import Host
from remote.runner import Runner


@dataclass(frozen=True)
class Verdict:
    """The properties with their breaches. `unseen`: hosts whose facts are incomplete."""

    properties: tuple[Property, ...]
    unseen: tuple[str, ...]

    @property
    def breaches(self) -> int:
        """Return the number of breaches of all properties."""
        return sum(len(each.breaches) for each in self.properties)


class Prover:
    """Proves isolation for all slices. A student sees breaches of own slices, and counts of the others."""

    def __init__(self, database: Store, connect: Callable[[str], Host]) -> None:
        self._database = database
        self._connect = connect

    def prove(self) -> Verdict:
        """Check all properties on all hosts. A slice that is being changed counts as a neighbour only."""
        state = self._database.load()
        inventory = state.inventory
        inspector = Inspector(self._database, inventory, self._connect)
        survey = inspector.survey(state.slices.values(), inventory.hosts, thorough=True)
        collected, slices = survey.collected, survey.slices
        for slice_ in slices:
            if slice_.status == SliceStatus.RUNNING and survey.is_busy(slice_.slice_id):
                slice_.status = SliceStatus.DEPLOYING
        seen = Proof(inventory, slices, collected.facts_by_host).properties()
        seen += tunnel_proof.properties(inventory, collected.facts_by_host)
        asked = Probes(inventory, slices, collected.facts_by_host).all()
        answers = self._ask(asked, inventory.ssh.timeouts.read_only)
        unseen = {*collected.incomplete, *(probe.host for probe in asked if probe.host not in answers)}
        verdicts = probes.verdicts(asked, answers)
        return Verdict((*seen, *verdicts), tuple(host for host in inventory.hosts if host in unseen))

    def prove_for(self, actor: str) -> Verdict:
        """Prove isolation, and return the part of the verdict that this user may see."""
        state = self._database.load()
        user = state.users.get(actor)
        if user is None:
            raise Refused(f"There is no user {actor} any more")
        own = [number for number, holdings in state.slices.holdings.items() if user.may_work_on(holdings)]
        verdict = self.prove()
        if user.role == ADMIN:
            return verdict
        return Verdict(tuple(each.seen_by(own) for each in verdict.properties), verdict.unseen)

    def _ask(self, asked: list[Probe], seconds: float) -> dict[str, dict[str, str]]:
        """Return the answers by host and name. A host that fails has no entry."""
        results = Runner(self._connect).run(probes.probe_plan(asked, seconds)).results if asked else []
        return {
            result.step.host: {name: f"{end.stdout}{end.stderr}" for name, end in result.answers.items()}
            for result in results
            if not result.error
        }

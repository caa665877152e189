"""Carry out the isolation proof: collect facts, run the probes, and judge both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.errors import Refused
from core.names import process_name
from core.status import SliceStatus
from database import Store
from inspection.isolation import probes, tunnel_proof
from inspection.isolation.probes import Probe, Probes
from inspection.isolation.proof import Proof, Property
from inspection.isolation.realms import apart
from inspection.realms import Inspectors
from models import ADMIN, Slice
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
        state = self._database.load_whole()
        inspectors = Inspectors(self._database, state.inventory_in_use, self._connect)
        whole, surveys = inspectors.survey(state.slices.values())
        slices = whole.slices
        for slice_ in slices:
            if slice_.status == SliceStatus.RUNNING and whole.is_busy(slice_.slice_id):
                slice_.status = SliceStatus.DEPLOYING
        seen: list[Property] = []
        asked: list[Probe] = []
        for realm, survey in surveys.items():
            own = [slice_ for slice_ in slices if slice_.realm == realm]
            others = [slice_ for slice_ in slices if slice_.realm != realm]
            inventory, facts_by_host = inspectors.by_realm[realm].inventory, survey.collected.facts_by_host
            seen += Proof(inventory, own, facts_by_host, _processes(others)).properties()
            seen += tunnel_proof.properties(inventory, facts_by_host)
            seen += [apart(inventory, own, others, facts_by_host)] if state.inventory.realms else []
            asked += Probes(inventory, own, facts_by_host).all()
        answers = self._ask(asked, state.inventory.ssh.timeouts.read_only)
        unseen = {probe.host for probe in asked if probe.host not in answers}.union(
            *(survey.collected.incomplete for survey in surveys.values())
        )
        properties = (*_joined(seen), *probes.verdicts(asked, answers))
        return Verdict(properties, tuple(host for host in state.inventory.all_hosts if host in unseen))

    def prove_for(self, actor: str) -> Verdict:
        """Prove isolation, and return the part of the verdict that this user may see."""
        state = self._database.load()
        user = state.users.get(actor)
        if user is None:
            raise Refused(f"There is no user {actor} any more")
        verdict = self.prove()
        if user.role == ADMIN:
            return verdict
        return Verdict(tuple(each.seen_by(user.slices) for each in verdict.properties), verdict.unseen)

    def _ask(self, asked: list[Probe], seconds: float) -> dict[str, dict[str, str]]:
        """Return the answers by host and name. A host that fails has no entry."""
        results = Runner(self._connect).run(probes.probe_plan(asked, seconds)).results if asked else []
        return {
            result.step.host: {name: f"{end.stdout}{end.stderr}" for name, end in result.answers.items()}
            for result in results
            if not result.error
        }


def _processes(slices: Iterable[Slice]) -> set[str]:
    """Return the names of the processes that slices may have."""
    designs = (design for slice_ in slices for design in slice_.designs)
    return {process_name(design.slice_id, vm.vm_id) for design in designs for vm in design.vms}


def _joined(properties: Iterable[Property]) -> Iterable[Property]:
    """Return the properties of all realms, each once."""
    found: dict[str, Property] = {}
    for each in properties:
        whole = found.setdefault(each.title, Property(each.title))
        whole.checked += each.checked
        whole.breaches += each.breaches
    return found.values()

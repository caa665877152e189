"""Looks at hosts and says what was found: the runner on one side, the pure comparison on the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from errors import CloudError
from inspection import findings
from inspection.findings import Comparison, Finding
from inspection.look import commands, look_plan
from inspection.reading import Sight, read
from inventory import Inventory
from models import Slice
from remote.runner import Host, Runner


@dataclass
class Look:
    """Hosts as they were seen at one moment, and those that could not be looked at."""

    began: float
    ended: float = 0.0
    sights: dict[str, Sight] = field(default_factory=dict)
    errors: dict[str, CloudError] = field(default_factory=dict)

    @property
    def unseen(self) -> list[Finding]:
        """Why hosts could not be looked at."""
        return [findings.of_error(host, error) for host, error in self.errors.items()]

    @property
    def partly(self) -> list[str]:
        """The hosts of which a part is not known, or nothing at all."""
        return [*self.errors, *(host for host, sight in self.sights.items() if sight.unread)]


class Inspector:
    """One round trip to each host that is asked."""

    def __init__(self, inventory: Inventory, connect: Callable[[str], Host]) -> None:
        self.inventory = inventory
        self._connect = connect
        self.comparison = Comparison(inventory)

    def look(self, hosts: Iterable[str], *, tools: bool = False) -> Look:
        """What is on the hosts; with `tools` also which programs they have."""
        needed = findings.tools_of(self.inventory) if tools else {}
        plan = look_plan(self.inventory, hosts, needed)
        look = Look(time.time())
        for result in Runner(self._connect).run(plan).results if plan.stages[0].steps else ():
            host = result.step.host
            if result.error:
                look.errors[host] = result.error
            else:
                names = commands(self.inventory, host, needed.get(host, ()))
                answers = {name: outcome.stdout for name, outcome in zip(names, result.outcomes, strict=True)}
                look.sights[host] = read(host, answers)
        look.ended = time.time()
        return look

    def ailments(self, tenants: Iterable[Slice]) -> dict[int, list[Finding]]:
        """What is missing of running slices, by slice; a host that does not answer is a finding of each of them."""
        running = [tenant for tenant in tenants if tenant.status == "running"]
        look = self.look(self.comparison.hosts_of(running))
        return {tenant.slice_id: self._of(tenant, look) for tenant in running}

    def _of(self, tenant: Slice, look: Look) -> list[Finding]:
        hosts = self.comparison.hosts_of([tenant])
        unseen = [finding for finding in look.unseen if finding.host in hosts]
        return [*unseen, *self.comparison.of_slice(tenant, look.sights)]

"""The floor: the hosts' own work alone. Each host runs its commands as one local script, all hosts side by side.

There is no SSH and no manager: the benchmark enters the hosts' namespaces. With `barriers` every host waits for the
others at the end of a stage, as in the plan; without them each host runs all stages at once.
"""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from bench.jobs import Life, program, together
from bench.samples import BenchError, Facts
from lab import Lab
from lab.accounts import GID, UID
from lab.command import SYSTEM_ENVIRONMENT
from lab.topology import SSH_USER

SECONDS = 600.0


class Floor:
    """The floor of others' work over SSH; `addresses` maps a host's address to its name in the lab."""

    def __init__(self, lab: Lab, life: Life, *, barriers: bool = True) -> None:
        self._lab = lab
        self._names = {host.address: host.name for host in lab.hosts}
        self._life = life
        self._barriers = barriers

    def run(self, phase: str) -> Facts:
        """Run a phase; return the seconds of each stage and host."""
        turns = self._life.get(phase, [])
        if not self._barriers and turns:
            turns = [together(turns, phase)]
        began = time.monotonic()
        stages: dict[str, dict[str, float]] = {}
        wall_times: dict[str, float] = {}
        with ThreadPoolExecutor(max_workers=32) as pool:
            for turn in turns:
                start = time.monotonic()
                took = dict(zip(turn.scripts, pool.map(self._one, turn.scripts.items()), strict=True))
                wall_times[turn.title] = wall_times.get(turn.title, 0.0) + time.monotonic() - start
                for host, seconds in took.items():
                    stage = stages.setdefault(turn.title, {})
                    stage[host] = stage.get(host, 0.0) + seconds
        return {"seconds": time.monotonic() - began, "stages": stages, "wall_times": wall_times}

    def _one(self, job: tuple[str, str]) -> float:
        address, body = job
        # As with sudo, the batch changes to this user for commands that are not root's; as with sshd, it has a session.
        environment = {**SYSTEM_ENVIRONMENT, "SUDO_UID": str(UID), "SUDO_GID": str(GID)}
        argv = self._lab.host_argv(self._names[address], ["sh", "-s"])
        began = time.monotonic()
        done = subprocess.run(
            argv, input=f"cd /home/{SSH_USER}\n{program(body)}", env=environment, cwd="/", capture_output=True,
            text=True, check=False, timeout=SECONDS, start_new_session=True,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"floor on {address}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
        return time.monotonic() - began

"""The floor: the hosts' own work and nothing else. Each host's commands are one local script, hosts side by side.

No SSH and no manager: whoever measures enters the host's namespaces. With `barriers` every host waits for the others at
the end of a stage, as the plan has it; without them each host goes through all stages in one go.
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
    """Carries out what others send over SSH; `addresses` gives the lab's name of each host's address."""

    def __init__(self, lab: Lab, life: Life, *, barriers: bool = True) -> None:
        self._lab = lab
        self._names = {host.address: host.name for host in lab.hosts}
        self._life = life
        self._barriers = barriers

    def run(self, phase: str) -> Facts:
        """Do a phase; how long each stage took, and each host in it."""
        turns = self._life.get(phase, [])
        if not self._barriers and turns:
            turns = [together(turns, phase)]
        began = time.monotonic()
        stages: dict[str, dict[str, float]] = {}
        walls: dict[str, float] = {}
        with ThreadPoolExecutor(max_workers=32) as pool:
            for turn in turns:
                start = time.monotonic()
                took = dict(zip(turn.scripts, pool.map(self._one, turn.scripts.items()), strict=True))
                walls[turn.title] = walls.get(turn.title, 0.0) + time.monotonic() - start
                for host, seconds in took.items():
                    stage = stages.setdefault(turn.title, {})
                    stage[host] = stage.get(host, 0.0) + seconds
        return {"seconds": time.monotonic() - began, "stages": stages, "walls": walls}

    def _one(self, job: tuple[str, str]) -> float:
        address, body = job
        # As sudo would have it: the batch drops to this user where a command is not for root. As sshd would: a session.
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

"""Ansible as a contender: our plan's commands as tasks, one each, with the settings that its documentation advises.

These are: pipelining, a fork for every host, no facts, one persistent connection per host. The strategy is `free`, so
that no host waits for another before the end of a stage. A stage is a play; each host includes its own list of tasks.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from bench.jobs import Job, Life, Turn
from bench.one_ssh import ssh_options
from bench.samples import BenchError, Facts
from core.inventory import Inventory

SECONDS = 1800.0
_PERSIST = ("-C", "-o", "ControlMaster=auto", "-o", "ControlPersist=120s")


class WithAnsible:
    """One run of `ansible-playbook` per phase; the playbooks are written beforehand."""

    def __init__(self, inventory: Inventory, life: Life, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._environment = _environment(inventory, folder)
        hosts = inventory.hosts
        folder.mkdir(exist_ok=True)
        _write(folder / "inventory.json", {"all": {"hosts": {host: _host(inventory) for host in hosts}}})
        for phase, turns in life.items():
            _write(folder / f"{phase}.json", [_play(phase, number, turn) for number, turn in enumerate(turns)])
            for number, turn in enumerate(turns):
                for host, jobs in turn.jobs.items():
                    _write(folder / f"{phase}-{number}-{host}.json", [_task(job) for job in jobs])

    def connect(self) -> Facts:
        """Make the persistent connections by one command that does nothing."""
        return self._run(["ansible", "-i", "inventory.json", "all", "-m", "ansible.builtin.raw", "-a", "true"])

    def design(self) -> Facts:
        """Create the overlays."""
        return self._play("design")

    def deploy(self) -> Facts:
        """Run all stages of the plan."""
        return self._play("deploy")

    def status(self) -> Facts:
        """Run the commands of the verifying stage."""
        return self._play("status")

    def delete(self) -> Facts:
        """Undo the plan."""
        return self._play("delete")

    def close(self) -> None:
        """End the persistent connections, which would stay for two more minutes."""
        for path in (self._folder / "cp").glob("*"):
            end = ["ssh", "-F", "none", "-O", "exit", "-S", str(path), "any-host"]
            subprocess.run(end, capture_output=True, check=False, timeout=SECONDS)

    def _play(self, phase: str) -> Facts:
        return self._run(["ansible-playbook", "-i", "inventory.json", f"{phase}.json"])

    def _run(self, argv: list[str]) -> Facts:
        done = subprocess.run(
            [str(self._programs / argv[0]), *argv[1:]], cwd=self._folder, env=self._environment, capture_output=True,
            text=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"{argv[0]}: exit {done.returncode}: {(done.stdout + done.stderr).strip()[-800:]}")
        return {}


def _environment(inventory: Inventory, folder: Path) -> dict[str, str]:
    settings = {
        "PIPELINING": "True",
        "FORKS": "50",
        "GATHERING": "explicit",
        "SSH_ARGS": " ".join((*_PERSIST, *ssh_options(inventory.ssh)[:-2])),
        "LOCAL_TEMP": str(folder / "tmp"),
        "HOME": str(folder / "home"),
        "SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "DEPRECATION_WARNINGS": "False",
        "NOCOLOR": "1",
        "DISPLAY_SKIPPED_HOSTS": "False",
    }
    return {**os.environ, "LC_ALL": "C.UTF-8", **{f"ANSIBLE_{name}": value for name, value in settings.items()}}


def _host(inventory: Inventory) -> dict[str, Any]:
    ssh = inventory.ssh
    return {
        "ansible_user": ssh.user,
        "ansible_port": ssh.port,
        "ansible_ssh_private_key_file": ssh.key_file,
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def _play(phase: str, number: int, turn: Turn) -> dict[str, Any]:
    include = {"ansible.builtin.include_tasks": f"{phase}-{number}-{{{{ inventory_hostname }}}}.json"}
    return {
        "name": turn.title,
        "hosts": ",".join(turn.jobs),
        "strategy": "free",
        "gather_facts": False,
        "any_errors_fatal": True,
        "tasks": [include],
    }


def _task(job: Job) -> dict[str, Any]:
    # Ansible evaluates its own expressions in every string; our commands have none.
    text = "{% raw %}" + job.text + "{% endraw %}"
    return {"ansible.builtin.shell": {"cmd": text}, "become": not job.as_user, "changed_when": False}


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))

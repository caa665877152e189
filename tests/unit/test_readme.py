"""README tells the truth, as far as that shows without a host."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from core.inventory import Inventory
from database import Database
from deployment import DeploymentAPI
from inspection.collect import look_plan
from lab import disk
from menu.arguments import parser
from remote.plan import Command
from tests.support.designs import DESIGNS, design
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")

PROGRAMS_IN_SCRIPTS = (
    *("cat", "cut", "df", "du", "grep", "ip", "kill", "nproc", "ovs-appctl", "ovs-ofctl", "ovs-vsctl"),
    *(
        "find",
        "head",
        "ls",
        "nsenter",
        "iptables",
        "iptables-restore",
        "iptables-save",
        "sed",
        "sleep",
        "ss",
        "tac",
        "tail",
        "timeout",
        "tr",
    ),
)


def programs_run_as_root() -> set[str]:
    """Every program that some plan runs as root, those inside scripts included."""
    deployment = DeploymentAPI(Inventory())
    plans = [deployment.deploy_plan(design(name)) for name in DESIGNS]
    inventory = Inventory()
    look = look_plan(inventory, inventory.hosts, thorough=True)
    steps = [step for plan in (*plans, deployment.discovery_plan(), look) for step in plan.steps]
    commands = [command for step in steps for command in (*step.do, *step.undo) if isinstance(command, Command)]
    argvs = [argv for c in commands if not c.as_user for argv in (c.argv, c.unless) if argv]
    scripts = " ".join(argv[2] for argv in argvs if argv[:2] == ("sh", "-c"))
    inside = {program for program in PROGRAMS_IN_SCRIPTS if re.search(rf"(?<![-\w]){program}(?![-\w])", scripts)}
    return {argv[0] for argv in argvs} | inside | ({"flock"} if any(step.lock for step in steps) else set())


def test_every_program_that_runs_as_root_is_listed() -> None:
    table = README[README.index("| program | on |") : README.index("**5. `database.yaml`**")]
    listed = set(re.findall(r"`([\w-]+)`", "\n".join(row.split("|")[1] for row in table.splitlines() if "|" in row)))
    programs = programs_run_as_root()
    assert {"ovs-vsctl", "iptables-restore", "kill", "ip"} <= programs
    assert programs <= listed


def test_the_one_right_in_sudo_is_the_one_the_labs_hosts_grant() -> None:
    assert disk.SUDO_RULE in README


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", README)) - {"sure"}))
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_unit_that_brings_the_data_port_up_is_one_for_systemd(tmp_path: Path) -> None:
    page = (ROOT / "docs/data-network.md").read_text(encoding="utf-8")
    path, unit = re.findall(r"```ini\n# (\S+)\n(.*?)```", page, re.DOTALL)[0]
    file = tmp_path / Path(path).name.replace("@", "@ens4")
    file.write_text(unit)
    assert "ExecStart=ip link set dev %i up\n" in unit
    if verify := shutil.which("systemd-analyze"):
        done = subprocess.run([verify, "verify", str(file)], capture_output=True, text=True, check=False)
        assert file.name not in done.stderr


def test_every_file_it_names_exists() -> None:
    named = set(re.findall(r"`([a-z_]+(?:\.py|/))`", README))
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("line", re.findall(r"^python3 cli\.py (.+)$", README, re.MULTILINE))
def test_every_command_of_the_operator_is_understood(line: str) -> None:
    assert parser(Path("database.yaml")).parse_args(line.split())


def test_the_shipped_database_is_the_one_it_describes() -> None:
    state = Database(ROOT / "database.yaml").load()
    assert state.inventory == Inventory()
    assert {name: user.quota_vms for name, user in state.users.items()} == {"admin": 10, "student": 6}
    assert list(state.all_flavors) == ["cirros", "ubuntu"]
    assert f"`hypervisor: cpu_overcommit` ({state.inventory.hypervisor.cpu_overcommit:g})" in README


def test_every_image_the_built_in_flavors_need_is_named() -> None:
    assert not [f for f in Database(ROOT / "database.yaml").load().all_flavors.values() if f["image"] not in README]


RELIABILITY = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`(\.venv/bin/pytest .*?)`", RELIABILITY))))
def test_every_command_of_the_table_of_faults_names_tests_that_are_there(command: str) -> None:
    words = shlex.split(command)
    files = [ROOT / word for word in words if word.endswith(".py")]
    known = "\n".join(file.read_text(encoding="utf-8") for file in files)
    wanted = words[words.index("-k") + 1].replace(" or ", " ").split() if "-k" in words else []
    assert files
    assert not [word for word in wanted if word not in known]

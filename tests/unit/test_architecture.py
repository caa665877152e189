"""The rules of the house (DESIGN 2): imports point downwards, and each foreign thing is used in one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in (
        *(".", "accounts", "allocation", "bench", "core", "inspection", "lab", "lifecycle", "menu", "network"),
        *("remote", "shell", "storage"),
    )
    for path in (ROOT / folder).glob("*.py")
)

IMPORTS = """
accounts.accounts: accounts.audit accounts.logins database errors models passwords
accounts.audit: errors storage.files
accounts.logins: errors storage.files
accounts.rights: allocation errors models storage.state
accounts.sessions: accounts.audit database errors storage.files
allocation: errors inventory models names
changes: accounts.rights allocation database deployment errors lifecycle.losses models placement remote.events
    remote.interrupts remote.plan remote.runner vm_launcher
cli: accounts.audit database environment errors menu.api menu.arguments menu.crash menu.endings menu.entries menu.hosts
    menu.idle menu.keyboard menu.log menu.operator menu.screen menu.session menu.users orchestrator
database: allocation errors storage.files storage.schema storage.state storage.text storage.version
deployment: allocation errors inventory models names network.wire placement qcow_manager remote.console remote.plan
    vlan_manager vm_launcher
dhcp: names namespaces remote.beside remote.daemon remote.plan
discovery: database deployment errors inventory placement remote.runner
environment:
errors:
firewall: inventory names remote.ovs remote.plan
inspection.codes:
inspection.doctor: accounts.audit database errors inspection.findings inspection.inspector inspection.orphans
    remote.plan remote.runner storage.state
inspection.exposure: inspection.sight network.stack
inspection.findings: deployment dhcp errors inspection.codes inspection.exposure inspection.foundation
    inspection.reading inspection.rules inspection.shared inspection.sight inventory models names namespaces remote.ovs
    vlan_manager vm_launcher walls
inspection.foundation: inspection.sight inventory models names network.wire remote.ovs
inspection.inspector: database errors inspection.findings inspection.look inspection.reading inspection.sight inventory
    models remote.runner
inspection.look: dhcp inventory names network.checks remote.ovs remote.plan vlan_manager vm_launcher
inspection.orphans: dhcp inspection.findings inspection.rules inspection.sight models names namespaces network.stack
    remote.daemon remote.ovs remote.plan vm_launcher
inspection.probes: inspection.exposure inspection.look inspection.proof inspection.sight inventory models names
    remote.ovs remote.plan
inspection.proof: errors inspection.exposure inspection.findings inspection.foundation inspection.rules inspection.sight
    inventory models names remote.ovs walls
inspection.prover: database errors inspection.inspector inspection.probes inspection.proof models remote.runner
inspection.reading: errors inspection.shared inspection.sight inspection.ways network.stack
inspection.rules: firewall inspection.sight inventory models remote.ovs walls
inspection.shared: dhcp errors firewall inspection.sight inventory network.neighbours
inspection.sight: names remote.ovs
inspection.ways: errors inspection.sight
inventory: errors
lifecycle.consoles: deployment errors models remote.console
lifecycle.design: accounts.rights allocation database deployment errors models placement
lifecycle.hosts: accounts.audit changes database deployment discovery errors inventory lifecycle.losses placement
    remote.events remote.plan remote.runner storage.state
lifecycle.losses: accounts.rights deployment errors models storage.state
menu.api: errors inventory menu.proofs models remote.console remote.events remote.plan
menu.arguments: inspection.codes menu.prompts menu.screen models
menu.board: remote.events remote.plan
menu.console: errors menu.exits menu.keyboard menu.screen menu.terminal remote.console
menu.crash:
menu.draw:
menu.endings:
menu.entries: errors menu.api menu.console menu.exits menu.facts menu.idle menu.screen menu.session menu.verdict
    menu.views models
menu.exits: inventory
menu.facts: menu.screen models
menu.hosts: errors menu.api menu.keyboard menu.prompts menu.screen
menu.idle: remote.console
menu.interrupts:
menu.keyboard: menu.idle menu.interrupts menu.screen
menu.log: menu.facts menu.screen
menu.operator: errors menu.keyboard menu.prompts menu.proofs menu.screen menu.verdict
menu.progress: menu.board menu.draw menu.endings menu.facts menu.screen remote.events
menu.prompts: menu.keyboard menu.screen models
menu.proofs:
menu.screen: menu.draw
menu.session: errors inventory menu.api menu.facts menu.keyboard menu.progress menu.prompts menu.screen menu.views
    models
menu.terminal:
menu.users: errors menu.api menu.keyboard menu.prompts menu.screen models
menu.verdict: menu.draw menu.proofs menu.screen
menu.views: inventory menu.draw menu.facts menu.prompts menu.screen models
models: errors inventory names
names:
namespaces: network.neighbours network.stack remote.beside remote.ovs remote.plan
network.checks: inventory models names network.wire remote.ovs remote.plan
network.neighbours: names remote.plan
network.stack: names remote.plan
network.wire: inventory models remote.ovs remote.plan
orchestrator: accounts.accounts accounts.audit accounts.rights accounts.sessions allocation changes database deployment
    discovery errors inspection.doctor inspection.findings inspection.inspector inspection.prover inventory
    lifecycle.consoles lifecycle.design lifecycle.hosts lifecycle.losses models passwords remote.console remote.events
    remote.images remote.plan remote.runner remote.ssh
passwords: errors
placement: allocation errors inventory models
qcow_manager: inventory models names remote.plan
remote.accelerator:
remote.batch: errors remote.plan
remote.beside:
remote.causes: errors inventory
remote.console: errors remote.daemon
remote.conversation: errors inventory remote.batch remote.causes remote.openssh remote.plan
remote.daemon:
remote.events: errors remote.plan
remote.host_keys: errors
remote.images: errors
remote.interrupts: remote.events
remote.openssh: errors inventory remote.batch remote.causes remote.images remote.plan remote.upload
remote.ovs: remote.plan
remote.plan:
remote.runner: errors remote.batch remote.events remote.plan
remote.ssh: errors inventory remote.batch remote.causes remote.conversation remote.host_keys remote.openssh remote.plan
remote.upload: errors remote.plan
storage.comments: storage.text
storage.files: errors
storage.rules: allocation inventory models names storage.schema storage.state
storage.schema: inventory models names passwords
storage.state: allocation inventory models
storage.text: models storage.schema
storage.version: allocation models storage.comments storage.rules storage.schema storage.state storage.text
vlan_manager: dhcp firewall inventory models names namespaces network.checks network.neighbours remote.ovs remote.plan
    vm_launcher walls
vm_launcher: errors inventory models names network.checks network.stack remote.accelerator remote.console remote.daemon
    remote.ovs remote.plan walls
walls: inventory models names remote.plan
"""
"""What each module of ours imports of ours, but for the lab and the bench: a line more is a decision."""

ONLY_IN = {
    "paramiko": ("remote/ssh.py",),
    "subprocess": ("remote/openssh.py", "lab/", "bench/"),
    "rich": ("menu/draw.py",),
    "yaml": ("storage/text.py",),
    "shlex": ("remote/plan.py", "lab/", "bench/"),
}
PRINTS_IN = ("cli.py", "lab/__main__.py", "bench/__main__.py")


def imports(path: Path) -> Iterator[str]:
    """The names of the modules that `path` imports, wherever in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [name for name in inside if name in OURS] or [node.module]


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


OURS = {name_of(path) for path in MODULES}


def test_there_are_modules() -> None:
    assert {"cli", "orchestrator", "remote.ssh", "lab.__main__"} <= OURS


TOLD = {name: {*words.split()} for name, words in re.findall(r"^(\S+):((?: .*)?(?:\n    .*)*)$", IMPORTS, re.MULTILINE)}


def test_imports_are_those_of_the_table() -> None:
    beside = {"lab", "bench"}
    paths = [path for path in MODULES if path.name != "__init__.py" and path.parts[0] not in beside]
    assert {name_of(path): {name for name in imports(path) if name in OURS} for path in paths} == TOLD


def test_imports_point_downwards() -> None:
    """There is no way round, and nobody below knows the menu."""
    TopologicalSorter(TOLD).prepare()
    assert not [
        name
        for name, imported in TOLD.items()
        if name != "cli" and not name.startswith("menu.") and any(each.startswith("menu.") for each in imported)
    ]


def test_the_lab_knows_nothing_of_the_product() -> None:
    for path in MODULES:
        ours = {
            module.split(".")[0] for module in imports(path) if module.split(".")[0] in {n.split(".")[0] for n in OURS}
        }
        if path.parts[0] == "lab":
            assert ours <= {"lab", "remote"}, path
        elif path.parts[0] != "bench":
            assert "lab" not in ours, path


@pytest.mark.parametrize("foreign", ONLY_IN)
def test_each_foreign_thing_is_used_in_one_place(foreign: str) -> None:
    users = [path.as_posix() for path in MODULES if foreign in {module.split(".")[0] for module in imports(path)}]
    assert users
    assert not [user for user in users if not user.startswith(ONLY_IN[foreign])]


def test_nobody_else_prints_or_asks() -> None:
    for path in MODULES:
        calls = [node for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.Call)]
        names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        assert path.as_posix() in PRINTS_IN or not names & {"print", "input"}, path


def test_no_command_is_written_as_one_string_for_a_shell() -> None:
    for path in MODULES:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert "shell=True" not in source, path
        assert "os.system" not in source, path


def test_nothing_is_ended_by_its_name() -> None:
    for path in ROOT.rglob("*"):
        if path.suffix in {".py", ".sh"} or path.name in {"Makefile", "run"}:
            hidden = any(part.startswith(".") and part != ".ci" for part in path.relative_to(ROOT).parts)
            if not hidden and path.is_file() and path != Path(__file__):
                text = path.read_text(encoding="utf-8")
                assert not [word for word in ("pkill", "killall") if word in text], path


def test_the_locked_versions_name_no_index() -> None:
    for lock in (*ROOT.glob("requirements*.lock"), ROOT / "bench/requirements.lock"):
        assert "://" not in lock.read_text(encoding="utf-8"), lock
        assert "--hash=sha256:" in lock.read_text(encoding="utf-8"), lock


def test_what_has_a_long_version_is_run_by_make_torture() -> None:
    scaled = [
        path for path in (ROOT / "tests").rglob("test_*.py") if "import scaled" in path.read_text(encoding="utf-8")
    ]
    assert scaled
    assert not [path.name for path in scaled if "mark.torture" not in path.read_text(encoding="utf-8")]

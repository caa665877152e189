"""The rules of the house (DESIGN 2): imports point downwards, and each foreign thing is used in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in (".", "inspection", "remote", "storage", "menu", "lab", "bench")
    for path in (ROOT / folder).glob("*.py")
)

PURE = {"remote.plan", "models", "names", "inventory", "errors"}
STEPS = {*PURE, "remote.daemon", "remote.ovs"}

ALLOWED = {
    "errors": set(),
    "inventory": set(),
    "names": set(),
    "models": {"errors", "inventory", "names"},
    "allocation": {"errors", "inventory", "models", "names"},
    "placement": {"allocation", "errors", "inventory", "models"},
    "qcow_manager": STEPS,
    "firewall": STEPS,
    "namespaces": STEPS,
    "walls": {"inventory", "models", "names", "remote.plan"},
    "vlan_manager": STEPS | {"firewall", "namespaces", "vm_launcher", "walls"},
    "vm_launcher": STEPS | {"walls"},
    "deployment": STEPS | {"allocation", "placement", "qcow_manager", "vlan_manager", "vm_launcher"},
    "orchestrator": {
        *PURE,
        *(
            "accounts",
            "allocation",
            "audit",
            "changes",
            "database",
            "deployment",
            "discovery",
            "inspection.doctor",
            "inspection.findings",
            "inspection.inspector",
            "inspection.prover",
            "passwords",
            "placement",
            "remote.console",
            "remote.events",
            "remote.runner",
            "remote.ssh",
            "rights",
        ),
    },
    "discovery": {"database", "deployment", "errors", "inventory", "placement", "remote.runner"},
    "rights": {"errors", "models", "storage.state"},
    "inspection.look": STEPS,
    "inspection.reading": {"remote.ovs"},
    "inspection.findings": {
        *STEPS,
        *("firewall", "inspection.codes", "inspection.reading", "namespaces", "vlan_manager", "vm_launcher"),
        "walls",
    },
    "inspection.codes": set(),
    "inspection.orphans": {
        *STEPS,
        *(
            "firewall",
            "inspection.findings",
            "inspection.reading",
            "namespaces",
            "vlan_manager",
            "vm_launcher",
            "walls",
        ),
    },
    "inspection.proof": {*STEPS, "inspection.findings", "inspection.reading", "walls"},
    "inspection.probes": {*STEPS, "inspection.look", "inspection.proof"},
    "inspection.doctor": {
        *("audit", "database", "errors", "inspection.findings", "inspection.inspector", "inspection.orphans"),
        "remote.runner",
        "remote.plan",
    },
    "inspection.prover": {
        *("database", "errors", "inspection.inspector", "inspection.probes", "inspection.proof"),
        *("models", "remote.runner"),
    },
    "inspection.inspector": {
        *("errors", "inspection.findings", "inspection.look", "inspection.reading", "inventory", "models"),
        "remote.runner",
    },
    "changes": {
        *("database", "deployment", "errors", "models", "placement"),
        *("remote.events", "remote.interrupts", "remote.plan", "remote.runner"),
    },
    "passwords": {"errors"},
    "audit": {"errors", "storage.files"},
    "logins": {"errors", "storage.files"},
    "accounts": {"audit", "logins", "database", "errors", "models", "passwords", "storage.schema"},
    "database": {
        *("allocation", "errors"),
        *("storage.files", "storage.schema", "storage.state", "storage.text", "storage.version"),
    },
    "storage.files": {"errors"},
    "storage.state": {"allocation", "inventory", "models"},
    "storage.schema": {"models", "passwords"},
    "storage.rules": {"allocation", "inventory", "models", "names", "storage.schema", "storage.state"},
    "storage.text": {"models", "storage.schema"},
    "storage.version": {
        *("allocation", "models", "storage.rules", "storage.schema", "storage.state", "storage.text"),
    },
    "remote.plan": set(),
    "remote.console": set(),
    "remote.daemon": set(),
    "remote.events": {"errors", "remote.plan"},
    "remote.batch": {"remote.plan"},
    "remote.ovs": {"remote.plan"},
    "remote.interrupts": {"remote.events"},
    "remote.runner": {"errors", "remote.batch", "remote.events", "remote.plan"},
    "remote.ssh": {"errors", "inventory", "remote.batch", "remote.plan"},
}
"""What a module of ours may import of ours."""

ONLY_IN = {
    "paramiko": ("remote/ssh.py",),
    "subprocess": ("lab/", "bench/"),
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


@pytest.mark.parametrize("name", ALLOWED)
def test_imports_point_downwards(name: str) -> None:
    path = Path(*name.split(".")).with_suffix(".py")
    assert {module for module in imports(path) if module in OURS} <= ALLOWED[name]


def test_only_the_menu_the_lab_and_the_bench_are_free_of_the_table_above() -> None:
    packages = {"inspection", "lab", "menu", "remote", "storage", "bench", "cli", "environment"}
    assert not [name for name in OURS - set(ALLOWED) - packages if name.split(".")[0] not in {"lab", "menu", "bench"}]


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

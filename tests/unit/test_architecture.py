"""The rules of docs/architecture.md: imports point downwards, and each foreign module is used in one place."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.sources import files, text_of, tree_of

LAYERS = (
    "cli",
    "menu",
    "orchestrator",
    "inspection lifecycle",
    "deployment accounts",
    "qcow_manager vlan_manager vm_launcher database",
    "images machines network storage allocation topology",
    "remote models",
    "shell core",
)
"""The contract of imports, from top to bottom: a module imports its own layer and those below it."""

OTHER_FOLDERS = ("lab", "bench", "docs")
"""Folders beside the product, which it does not import."""

HEIGHT = {name: -number for number, layer in enumerate(LAYERS) for name in layer.split()}
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in (".", *HEIGHT, *OTHER_FOLDERS)
    for path in (ROOT / folder).glob("*.py" if folder == "." else "**/*.py")
)

ONLY_IN = {
    "paramiko": ("remote/ssh.py",),
    "psycopg": ("storage/postgres/",),
    "cryptography": ("core/ssh_keys.py",),
    "subprocess": ("remote/openssh.py", "remote/own_machine.py", "lab/", "bench/"),
    "rich": ("menu/rich_parts.py",),
    "yaml": ("storage/text.py", "topology/"),
    "shlex": ("remote/plan.py", "menu/restricted.py", "lab/", "bench/"),
}
MOST_LINES = 400
PRINTS_IN = ("cli.py", "lab/__main__.py", "bench/__main__.py")


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the names of all modules that `path` imports."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(ROOT / path)):
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


@cache
def product() -> dict[str, tuple[str, ...]]:
    """Return the modules of the product, each with the names of all modules that it imports."""
    return {name_of(path): imports(path) for path in MODULES if path.parts[0] not in OTHER_FOLDERS}


def test_every_module_has_its_place() -> None:
    documented = {
        "cli",
        "orchestrator",
        "deployment",
        "vlan_manager",
        "qcow_manager",
        "vm_launcher",
        "models",
        "database",
    }
    assert {path.stem for path in ROOT.glob("*.py")} == documented
    assert {name.split(".")[0] for name in product()} == {*HEIGHT}


def test_a_module_has_at_most_400_lines() -> None:
    sizes = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: size for path, size in sizes.items() if size > MOST_LINES} == {}


def test_imports_point_downwards() -> None:
    upwards = [
        f"{name} imports {imported}"
        for name, all_imported in product().items()
        for imported in all_imported
        if HEIGHT.get(imported.split(".")[0], -len(LAYERS)) > HEIGHT[name.split(".")[0]]
    ]
    assert upwards == []


def test_no_modules_import_each_other() -> None:
    modules = product()
    TopologicalSorter({name: {*imported} & {*modules} for name, imported in modules.items()}).prepare()


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


def test_every_class_has_a_name_of_its_own() -> None:
    """A reader who searches for a class finds one, in the product, its tests, the lab and the benchmarks."""
    places = defaultdict(list)
    for path in files(".py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert len(places) > 300
    assert {name: lines for name, lines in places.items() if len(lines) > 1} == {}


def test_no_other_module_prints_or_asks() -> None:
    for path in MODULES:
        calls = [node for node in ast.walk(tree_of(ROOT / path)) if isinstance(node, ast.Call)]
        names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        assert path.as_posix() in PRINTS_IN or not names & {"print", "input"}, path


def test_no_command_is_written_as_one_string_for_a_shell() -> None:
    for path in MODULES:
        source = text_of(ROOT / path)
        assert "shell=True" not in source, path
        assert "os.system" not in source, path


SHELL = re.compile(
    r"\$[1-9@#?]|\$[({]|>&2|2>/dev/null|^\s*(if|for|while|case|exit|echo|printf|export|umask|trap)\b"
    r"|\b(fi|done|esac)$",
    re.MULTILINE,
)


def texts(tree: ast.Module) -> Iterator[str]:
    """Yield the strings of a module; a string that is a statement, such as a docstring, is for readers."""
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


def shell_texts(tree: ast.Module) -> list[str]:
    """Return the strings of several lines that look like programs for a shell."""
    return [text for text in texts(tree) if "\n" in text.strip() and SHELL.search(text)]


def test_shell_is_in_files() -> None:
    """A script in a Python string cannot be checked, named or read."""
    modules = [path for path in MODULES if "tests" not in path.parts]
    assert len(modules) > 80
    assert not [path for path in modules if shell_texts(tree_of(ROOT / path))]


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ('A = """for a; do\n  echo "$a"\ndone"""', 1),
        ('A = f"""cd {here} || exit\n[ -e x ] || echo "{no}" >&2"""', 1),
        ('run("sh", "-c", "read -r pid <$1\\nkill $pid")', 1),
        ('"""Run it\n\nfor all of `$1`"""\nA = "echo $1"', 0),
        ('A = "two\\nlines of words"', 0),
    ],
)
def test_shell_in_a_string_is_found(source: str, number: int) -> None:
    assert len(shell_texts(ast.parse(source))) == number


ENTRY = re.compile(r"\bmenu entry\b|\bentr(y|ies) \d|\b\d+ \([A-Z]\w+ [A-Z]|Repair Slice|View my Slices")


def entries_in(tree: ast.Module) -> list[str]:
    """Return the strings that name an entry of the menu by its number or its title."""
    return [text for text in texts(tree) if ENTRY.search(text)]


def test_only_the_menu_names_its_entries() -> None:
    """Commands show the sentences of all other modules."""
    modules = [path for path in MODULES if path.parts[0] not in {*OTHER_FOLDERS, "menu"}]
    assert {str(path): found for path in modules if (found := entries_in(tree_of(ROOT / path)))} == {}


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ('A = "start it (menu entry 15)"', 1),
        ('A = f"{vm} is off; 11 (Repair Slice) starts it again"', 1),
        ('"""Carry out entry 15."""\nA = "start it: start 1000 r1"', 0),
        ('A = "VM 1001 (web) is off"', 0),
    ],
)
def test_an_entry_in_a_string_is_found(source: str, number: int) -> None:
    assert len(entries_in(ast.parse(source))) == number


def test_nothing_is_ended_by_its_name() -> None:
    for path in (*files(".py", ".sh"), ROOT / "Makefile", ROOT / ".ci/run"):
        if path != Path(__file__):
            assert not [word for word in ("pkill", "killall") if word in text_of(path)], path


def test_the_locked_versions_name_no_index() -> None:
    for lock in (*ROOT.glob("requirements*.lock"), ROOT / "bench/requirements.lock"):
        assert "://" not in lock.read_text(encoding="utf-8"), lock
        assert "--hash=sha256:" in lock.read_text(encoding="utf-8"), lock


def test_tests_with_a_long_version_are_run_by_make_torture() -> None:
    scaled = [path for path in files(".py") if path.name.startswith("test_") and "import scaled" in text_of(path)]
    assert scaled
    assert not [path.name for path in scaled if "mark.torture" not in text_of(path)]

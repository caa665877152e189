"""The truth of the pages, as far as it can be checked without a host."""

from __future__ import annotations

import ast
import io
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import lab.__main__
from accounts.logins import FREE, LONGEST_WAIT_S
from core.captures import CaptureRequest
from core.inventory import Inventory, LoginSettings, Timeouts
from core.names import mac_address
from core.passwords import MIN_NEW_LENGTH
from core.status import SliceStatus, VMStatus
from core.values import IPConfig
from database import MAX_BYTES, Database
from deployment import DeploymentAPI
from inspection.codes import CODES
from inspection.collect import collection_plan
from inspection.summary import SliceProblems
from lab import disk
from menu.arguments import parser
from menu.entries import ENTRIES
from menu.plan_titles import UNDO
from menu.plans import Depth, plan_lines
from menu.screen import PIPE_WIDTH, View
from menu.views import MenuView, ReachView, SliceView
from models import VM, Interface, Slice
from network import shaping
from remote.capture import CaptureVisit
from remote.plan import Command, script_names
from remote.port import PortVisit
from shell.scripts import load
from tests.support.designs import DESIGNS, design
from tests.support.paths import ROOT
from tests.support.playing import screen_of
from tests.support.sources import tree_of
from vlan_manager import VLANManager

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
}
TEXT = "\n".join(text for page, text in PAGES.items() if not page.startswith(("CHANGELOG", "docs/reference/")))
"""The pages that people wrote for today's readers."""

README = PAGES["README.md"]
OPERATIONS = PAGES["docs/operations.md"]
SECURITY = PAGES["docs/security.md"]
HOSTS = PAGES["docs/install-hosts.md"]
GUIDE = PAGES["docs/user-guide.md"]

PROGRAM = "/srv/cloud/.venv/bin/python /srv/cloud/cli.py"

OTHER_FOLDERS = ("lab", "bench", "docs", "tests")
"""Folders beside the product."""

PROGRAMS_IN_SCRIPTS = (
    *("awk", "cat", "cut", "date", "df", "dnsmasq", "du", "find", "grep", "head", "ip", "iptables", "iptables-legacy"),
    *("iptables-restore", "iptables-save", "kill", "ln", "ls", "mkdir", "nft", "nproc", "nsenter", "ovs-appctl"),
    *("ovs-ofctl", "ovs-vsctl", "qemu-system-x86_64", "rm", "rmdir", "sed", "sleep", "socat", "ss", "stat", "sysctl"),
    *("tail", "tc", "timeout", "tr", "unshare"),
)

PROGRAMS_OF_THE_BATCH = ("dd", "setpriv", "test")
"""Programs that no script and no plan names: root's shell runs them around the commands (remote/batch.py)."""


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as a forge makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def links(page: str) -> Iterator[tuple[str, str]]:
    """Yield file and anchor of every link of a page to a page or file of this repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" not in target:
            path, _, place = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            yield file.resolve().relative_to(ROOT).as_posix(), place


def lines_of_code() -> list[str]:
    """Return every line in a block of shell code of all pages, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return re.sub(r"\\?\n +", " ", "\n".join(blocks)).splitlines()


def words_after(command: str) -> list[str]:
    """Return the arguments of every line of code that runs `command`, and of every mention of it in a sentence."""
    inline = re.findall(rf"`(?:python3 )?{re.escape(command)} ([^`]+)`", TEXT)
    blocks = [line.partition(f"{command} ")[2] for line in lines_of_code() if f"{command} " in line]
    return sorted({words for words in (*inline, *blocks) if "[" not in words})


def programs_run_as_root() -> set[str]:
    """Return every program that some plan runs as root, those inside scripts included."""
    deployment = DeploymentAPI(Inventory())
    plans = [deployment.deploy_plan(design(name)) for name in DESIGNS]
    plans.append(DeploymentAPI(Inventory(underlay="tunnel")).deploy_plan(design("line")))
    inventory = Inventory()
    collection = collection_plan(inventory, inventory.hosts, thorough=True)
    steps = [step for plan in (*plans, deployment.discovery_plan(), collection) for step in plan.steps]
    steps.append(VLANManager(inventory).close_internet())
    commands = [
        command for step in steps for command in (*step.do, *step.undo, *step.restore) if isinstance(command, Command)
    ]
    commands += [shaping.shape({"tap_1001_eth1": "netem delay 1ms"}), shaping.check_netem()]
    argvs = [argv for c in commands if not c.as_user for argv in (c.argv, c.unless) if argv]
    scripts = " ".join(text for argv in argvs for text in script_names([argv]))
    scripts += PortVisit("", "10.60.7.101", 22).script + CaptureVisit("", "", CaptureRequest("eth1")).script
    inside = {program for program in PROGRAMS_IN_SCRIPTS if re.search(rf"(?<![-\w]){program}(?![-\w])", scripts)}
    return {argv[0] for argv in argvs} | inside | ({"flock"} if any(step.lock for step in steps) else set())


# --- all pages --------------------------------------------------------------------------------------------------------


def test_every_link_leads_to_a_page_and_a_heading() -> None:
    for page in PAGES:
        for file, place in links(page):
            assert (ROOT / file).exists(), f"{page}: {file}"
            if place:
                headings = re.findall(r"^#+ (.*)$", PAGES[file], re.MULTILINE)
                assert place in {anchor(heading) for heading in headings}, f"{page}: {file}#{place}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[str] = set()
    found = {"README.md"}
    while found:
        reached |= found
        found = {file for page in found for file, _ in links(page) if file in PAGES} - reached
    assert reached == {*PAGES}


@pytest.mark.parametrize("target", sorted({*re.findall(r"(?:^|`)make ([a-z-]+)", TEXT, re.MULTILINE)}))
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_test_they_run_exists() -> None:
    named = {word for line in lines_of_code() for word in line.split() if word.startswith("tests/")}
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_file_they_name_exists() -> None:
    pattern = r"`((?:[a-z_]+/)+(?:[\w-]+\.(?:py|md|txt|sh|xz))?|[a-z_]+\.py)`"
    named = set(re.findall(pattern, TEXT))
    assert {"menu/entries.py", "inspection/isolation/", "models.py"} <= named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_method_they_name_exists() -> None:
    named = re.findall(r"`([A-Z]\w+)\.(\w+)` in `([\w/]+\.py)`", TEXT)
    assert ("VMLauncher", "qemu_argv", "vm_launcher.py") in named
    for cls, method, file in named:
        assert f"    def {method}(" in (ROOT / file).read_text().partition(f"class {cls}")[2], f"{cls}.{method}"


@pytest.mark.parametrize("words", words_after("cli.py"))
def test_every_command_of_the_operator_is_understood(words: str) -> None:
    assert parser(Path("database.yaml")).parse_args(shlex.split(words.replace("ADDRESS", "10.0.10.2")))


@pytest.mark.parametrize("words", words_after("-m lab"))
def test_every_command_of_the_lab_is_understood(words: str) -> None:
    assert lab.__main__.parse(shlex.split(words))


def test_the_readme_is_short_and_begins_with_both_commands() -> None:
    assert len(README.split()) <= 900
    first_screen = "\n".join(README.splitlines()[:24])
    assert "make run" in first_screen
    assert "make test" in first_screen


def test_the_newest_version_of_the_changelog_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.findall(r"^## ([\d.]+)", PAGES["CHANGELOG.md"], re.MULTILINE)[0] == project["version"]


# --- what one page says -----------------------------------------------------------------------------------------------


def test_every_entry_of_the_menu_is_in_the_table() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", GUIDE, re.MULTILINE)
    assert rows == [(str(entry.number), entry.title) for entry in ENTRIES]


def drawn(view: View) -> str:
    """Return what a terminal of 100 columns shows, without colours and blanks at the ends of lines."""
    output = io.BytesIO()
    screen = screen_of(output, terminal=True, width=100)
    screen.show(view)
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue().decode())
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def running_vm(vm_id: int, name: str, worker: str, vnc_port: int, secret: str) -> VM:
    """Return a running VM with `eth0` and `eth1`, not connected."""
    nics = [Interface(f"eth{index}", mac=mac_address(vm_id, index)) for index in (0, 1)]
    vm = VM(vm_id, name, "student", worker, vnc_port, nics)
    vm.flavor_name, vm.vnc_secret, vm.status = "cirros", secret, VMStatus.RUNNING
    return vm


def running_slice(slice_id: int, *vms: VM) -> Slice:
    """Return a running slice whose first VM has internet access."""
    slice_ = Slice(slice_id, "student")
    slice_.name, slice_.status, slice_.vms = "first", SliceStatus.RUNNING, [*vms]
    address = f"10.60.7.{100 + vms[0].vm_id % 100}"
    vms[0].interfaces[0].vlan_id, vms[0].interfaces[0].ip_config = 400, IPConfig(address, "10.60.7.0/24", "10.60.7.1")
    return slice_


def test_menu_and_slices_look_as_on_a_terminal() -> None:
    web = running_vm(1001, "web", "10.0.10.1", 5901, "wEopYFd8")
    slice_ = running_slice(1000, web, running_vm(1002, "db", "10.0.10.2", 5902, "ilr349G3"))
    slice_.connect(1001, "eth1", 1002, "eth1")
    assert drawn(SliceView(slice_, "student")) in GUIDE
    entries = [(entry.number, entry.title) for entry in ENTRIES if not entry.for_admins]
    assert drawn(MenuView("student", entries)) in GUIDE
    assert drawn(ReachView(slice_)) in PAGES["docs/getting-started.md"]


def test_a_plan_looks_as_on_a_pipe() -> None:
    plan = DeploymentAPI(Inventory()).deploy_plan(design("single"), new=True)
    lines = plan_lines(plan, Depth.TITLES, PIPE_WIDTH, "to deploy slice 1000 (first)")
    assert "```\n" + "".join(f"{line.text}\n" for line in lines) + "```" in GUIDE
    table = GUIDE[GUIDE.index("| undo | meaning |") :].splitlines()[2 : 2 + len(UNDO)]
    assert [row.split("|")[1].strip() for row in table] == [*UNDO]


def test_a_slice_with_a_problem_is_shown_as_in_a_pipe() -> None:
    slice_ = running_slice(1003, running_vm(1004, "web", "10.0.10.1", 5901, "i8mbr1B3"))
    problems = SliceProblems(("10.0.10.1: VM web does not run",), ("11 repairs it",))
    assert "\n".join(SliceView(slice_, "student", problems).lines()) in GUIDE


def test_the_architecture_names_every_folder_and_the_modules_of_a_deployment() -> None:
    page = PAGES["docs/architecture.md"]
    drawn = re.findall(r"^[ │├└─]*([a-z]+)/ ", page, re.MULTILINE)
    assert {*drawn} == {path.parent.name for path in ROOT.glob("*/__init__.py")} - {*OTHER_FOLDERS} | {
        "isolation",
        "postgres",
    }
    modules = re.findall(r"^ *\d+  ([\w/]+\.py) ", page, re.MULTILINE)
    assert len(modules) == 10
    assert not [name for name in modules if not (ROOT / name).exists()]
    (usage,) = re.findall(r"^# usage: .*$", page, re.MULTILINE)
    assert load("taps/make-taps").usage == usage


def test_every_program_that_runs_as_root_is_listed() -> None:
    table = SECURITY[SECURITY.index("| program | on |") : SECURITY.index("## What runs as root in the lab")]
    cells = "\n".join(row.split("|")[1] for row in table.splitlines() if "|" in row)
    listed = set(re.findall(r"`([\w-]+)(?: --version)?`", cells))
    programs = programs_run_as_root()
    assert {"ovs-vsctl", "iptables-restore", "kill", "ip"} <= programs
    assert programs <= listed
    assert listed <= programs.union(PROGRAMS_OF_THE_BATCH)


def test_the_properties_of_the_proof_are_those_of_the_code() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "inspection/isolation").glob("*.py"))
    titles = re.findall(r"^(.*): \d+ checked, holds$", SECURITY, re.MULTILINE)
    assert len(titles) > 5
    assert not [title for title in titles if title not in code]


def test_the_one_right_in_sudo_is_the_one_the_labs_hosts_grant() -> None:
    assert disk.SUDO_RULE in HOSTS


def test_the_unit_that_brings_the_data_port_up_is_one_for_systemd(tmp_path: Path) -> None:
    path, unit = re.findall(r"```ini\n# (\S+)\n(.*?)```", PAGES["docs/data-network.md"], re.DOTALL)[0]
    file = tmp_path / Path(path).name.replace("@", "@ens4")
    file.write_text(unit)
    assert "ExecStart=ip link set dev %i up\n" in unit
    if verify := shutil.which("systemd-analyze"):
        done = subprocess.run([verify, "verify", str(file)], capture_output=True, text=True, check=False)
        assert file.name not in done.stderr


def test_the_timer_of_resume_is_one_for_systemd(tmp_path: Path) -> None:
    units = re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", PAGES["docs/many-managers.md"], re.DOTALL)
    assert [name for name, _ in units] == ["cloud-resume.service", "cloud-resume.timer"]
    assert f"ExecStart={PROGRAM} resume\n" in units[0][1]
    for name, unit in units:
        (tmp_path / name).write_text(unit.replace(PROGRAM, sys.executable).replace("User=cloud\n", ""))
    if verify := shutil.which("systemd-analyze"):
        done = subprocess.run([verify, "verify", *tmp_path.iterdir()], capture_output=True, text=True, check=False)
        assert "cloud-resume" not in done.stderr


def test_every_code_of_the_data_network_is_one_of_the_doctors() -> None:
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", PAGES["docs/data-network.md"], re.MULTILINE)
    codes = re.findall(r"`([a-z-]+)`", " ".join(rows))
    assert len(codes) > 5
    assert {*codes} <= {*CODES}


def test_the_shipped_database_is_the_one_they_describe() -> None:
    state = Database(ROOT / "database.yaml").load()
    assert state.inventory == Inventory()
    assert {name: user.quota_vms for name, user in state.users.items()} == {"admin": 10, "student": 6}
    assert list(state.all_flavors) == ["cirros", "ubuntu"]
    hypervisor = state.inventory.hypervisor
    assert f"`hypervisor: cpu_overcommit` ({hypervisor.cpu_overcommit:g})" in HOSTS
    assert f"`hypervisor: spread` ({hypervisor.spread}; 0 means all)" in HOSTS
    assert not [flavor for flavor in state.all_flavors.values() if (flavor.image or "") not in HOSTS]


def test_limits_and_timeouts_are_those_of_the_code() -> None:
    times, login = Timeouts(), LoginSettings()
    words = f"connect: {times.connect:g}, silence: {times.silence:g}, change: {times.change:g}"
    assert f"`ssh: {{timeouts: {{{words}}}}}`" in OPERATIONS
    assert f"A file above {MAX_BYTES >> 20} MiB is refused" in OPERATIONS
    students = PAGES["docs/students-over-ssh.md"]
    assert f"| {login.sessions} | `login: {{sessions: {login.sessions}}}`" in students
    assert f"`login: {{idle: {login.idle}}}`" in students
    assert f"at least {MIN_NEW_LENGTH} characters" in " ".join(GUIDE.split())
    assert FREE == 3
    assert f"up to {LONGEST_WAIT_S} s" in GUIDE


def test_every_command_of_the_table_of_faults_names_tests_that_are_there() -> None:
    commands = set(re.findall(r"`(\.venv/bin/pytest .*?)`", PAGES["docs/reliability.md"]))
    assert len(commands) > 100
    for command in commands:
        words = shlex.split(command)
        files = [ROOT / word for word in words if word.endswith(".py")]
        known = "\n".join(name for file in files for name in names_of_tests(file))
        wanted = words[words.index("-k") + 1].replace(" or ", " ").split() if "-k" in words else []
        assert files, command
        assert not [word for word in wanted if word.lower() not in known], command


@cache
def names_of_tests(file: Path) -> frozenset[str]:
    """Return the names of the tests of a file, and all texts in it, some of which are the ids of cases."""
    nodes = [*ast.walk(tree_of(file))]
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return frozenset(text.lower() for text in names | texts)

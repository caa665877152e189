"""The command `create` over fake hosts: what is on standard output, what on standard error, and the exit status."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from core.errors import Refused
from menu import commands
from menu.arguments import parser
from menu.file_arguments import INTERNET, TEMPLATE_FORMS
from menu.screen import Screen
from menu.words import USAGE
from tests.support.desk import Desk
from tests.unit.menu.test_commands import piped, run
from topology import templates

pytestmark = pytest.mark.on_a_file

FILE = """\
slice: mine
vms: {a: cirros, b: {flavor: cirros, internet: true}}
links: [a - b]
"""
NEEDS = "2 VMs, 1 link; needs 1 GB of 32 GB; 2 of 6 VMs of your quota"


def create(desk: Desk, *words: str) -> tuple[int, str]:
    """Return exit status and standard output of `create` for `student`."""
    args = parser(Path()).parse_args(["--as", "student", "create", *words])
    output = io.StringIO()
    return commands.COMMANDS["create"](desk.api, args, Screen(output, terminal=False)), output.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.slice.yaml"
    path.write_text(FILE)
    return path


def test_a_slice_file_becomes_a_slice(desk: Desk, file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert create(desk, str(file)) == (0, "Slice created! ID: 1000\n")
    needs, *progress = capfd.readouterr().err.splitlines()
    assert needs == f"{file}: {NEEDS}"
    assert any("overlay of a ... done" in line for line in progress)
    slice_ = desk.slice()
    assert (slice_.name, [vm.name for vm in slice_.vms], len(slice_.links)) == ("mine", ["a", "b"], 1)


def test_the_id_as_json_and_another_name(desk: Desk, file: Path) -> None:
    status, output = create(desk, str(file), "--name", "other", "--json")
    assert (status, json.loads(output)) == (0, {"slice_id": 1000})
    assert desk.slice().name == "other"


def test_a_template_becomes_a_slice(desk: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    words = ("--template", "ring:6", "--name", "lab", "--flavor", "cirros", "--internet", "first")
    assert create(desk, *words) == (0, "Slice created! ID: 1000\n")
    needs = "ring:6: 6 VMs, 6 links; needs 3 GB of 32 GB; 6 of 6 VMs of your quota"
    assert capfd.readouterr().err.splitlines()[0] == needs
    assert [vm.name for vm in desk.slice().vms if vm.interfaces[0].ip_config] == ["r1"]


def test_the_first_flavor_and_no_internet_are_the_defaults(desk: Desk) -> None:
    create(desk, "--template", "line:2", "--name", "lab")
    slice_ = desk.slice()
    assert ({vm.flavor_name for vm in slice_.vms}, slice_.uses_internet) == ({"cirros"}, False)


def test_a_description_is_kept(desk: Desk, file: Path) -> None:
    file.write_text(f"{FILE}description: two VMs\n")
    assert create(desk, str(file)) == (0, "Slice created! ID: 1000\n")
    assert desk.slice().description == "two VMs"


def test_what_does_not_fit_is_told_with_its_size(desk: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused, match=r"^Quota exceeded: you have 0 of 6 VMs, and 7 more are needed; delete a slice"):
        create(desk, "--template", "ring:7", "--name", "lab")
    assert capfd.readouterr().err == "ring:7: 7 VMs, 7 links; needs 3.5 GB of 32 GB; 7 of 6 VMs of your quota\n"


def test_a_dry_run_changes_nothing(desk: Desk, file: Path) -> None:
    before, runs = desk.path.read_bytes(), [host.runs for host in desk.cloud.hosts.values()]
    status, output, errors = run(desk, "create", str(file), "--as", "student", "--dry-run")
    assert (status, output) == (0, "")
    assert errors.splitlines() == [f"{file}: {NEEDS}", "Nothing was created: --dry-run"]
    assert run(desk, "create", "--template", "ring:7", "--name", "lab", "--as", "student", "--dry-run")[0] == 1
    assert (desk.path.read_bytes(), [host.runs for host in desk.cloud.hosts.values()]) == (before, runs)


def test_faults_of_a_file_are_shown_with_their_lines(desk: Desk) -> None:
    text = FILE.replace("a: cirros", "a: tiny")
    status, output, errors = piped(desk, text.encode(), "create", "-")
    assert (status, output) == (1, "")
    assert errors == "Error: -, line 2: there is no flavor `tiny`; there are cirros, ubuntu\n"


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ((), USAGE, "one of the arguments FILE --template is required"),
        (("a.yaml", "--template", "ring:3"), USAGE, "not allowed with argument"),
        (("a.txt",), USAGE, "a slice file ends in .yaml or .yml"),
        (("--template", "ring:3"), USAGE, "a template needs --name"),
        (("a.yaml", "--flavor", "cirros"), USAGE, "--flavor and --internet are for --template"),
        (("--template", "ring:3", "--name", "3d"), USAGE, "a slice's name is a letter"),
        (("--template", "ring:3", "--name", "lab", "--internet", "some"), USAGE, "invalid choice: 'some'"),
        (("--template", "circle:3", "--name", "lab"), 1, "'circle:3' is no template; there are line:N"),
        (("--template", "ring:3", "--name", "lab", "--flavor", "x"), 1, "There is no flavor x; there are cirros"),
        (("nowhere.yaml",), 1, "nowhere.yaml cannot be read (No such file or directory)"),
    ],
)
def test_words_that_are_refused(desk: Desk, words: tuple[str, ...], status: int, sentence: str) -> None:
    before = desk.path.read_bytes()
    found, output, errors = run(desk, "create", *words)
    assert (found, output, desk.path.read_bytes()) == (status, "", before)
    assert sentence in errors.splitlines()[-1]
    assert errors.splitlines()[-1].startswith("Error: ")


def test_the_help_names_all_templates() -> None:
    assert templates.forms() == TEMPLATE_FORMS
    assert templates.INTERNET == INTERNET

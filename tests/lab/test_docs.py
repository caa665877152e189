"""The sessions of README and docs, and the lists of packages, compared with the lab."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vlan_manager
import vm_launcher
from lab import Lab, paths
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

ANSWERS = {"README.md": 16, "docs/getting-started.md": 28}
"""Number of answers in a page's session, so that none is lost between page and menu."""

HOSTS = (ROOT / "docs/install-hosts.md").read_text(encoding="utf-8")
MARK = r"<!-- a test types these answers and expects these lines -->\n```\n(.*?)```"
PROMPT = re.compile(r"(.*?(?::|\(y/n\):)) (\S.*)$")
DRAWN = ("├──", "└──", "│")
NO_PROMPTS = ("Slice created!", "VM added!", "Link created!", "  VM ", "Their serial consoles:")


def typed(session: str) -> tuple[list[str], list[str]]:
    """Return the answers of the session, and the other lines that it shows."""
    answers, shown = [], []
    for line in session.splitlines():
        found = PROMPT.match(line)
        if found and not line.startswith(NO_PROMPTS):
            answers.append(found[2])
            shown.append(found[1])
        else:
            shown.append(line)
    return answers, shown


def facts(line: str) -> set[str]:
    """Return the words of a line, without drawings and passwords."""
    words = re.sub(r"password \w{8}", "", line).split()
    return {word.strip(",:()") for word in words} - {*DRAWN, ""}


@pytest.mark.parametrize("page", ANSWERS)
def test_the_first_slice_is_as_shown(lab: Lab, home: Path, page: str) -> None:
    """Start with an empty file, because the session shows its first ids."""
    database = home / "database.yaml"
    text = re.sub(r"next_vm_id: \d+", "next_vm_id: 1000", lab.database.read_text(encoding="utf-8"))
    database.write_text(re.sub(r"^slices:.*?^next", "slices: {}\nnext", text, flags=re.DOTALL | re.MULTILINE))
    _forget_users_slices(database)
    paths.caller().own(database)
    (session,) = re.findall(MARK, (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    answers, shown = typed(session)
    assert len(answers) == ANSWERS[page]
    argv = [f"{ROOT}/.venv/bin/python", f"{ROOT}/cli.py", "--database", str(database)]
    seen = lab.run(argv, input="".join(f"{answer}\n" for answer in answers)).stdout.splitlines()
    for line in shown:
        if line.startswith(DRAWN):  # a terminal gets a tree, a pipe gets one line per VM, with the same facts
            assert facts(line) <= set().union(*map(facts, seen)), line
            continue
        while seen and not facts(line) <= facts(seen[0]):
            seen.pop(0)
        assert seen, f"{page} shows {line!r}, the menu did not, or not there"


def _forget_users_slices(database: Path) -> None:
    text = database.read_text(encoding="utf-8")
    text = re.sub(r"used_vms: \d+", "used_vms: 0", text)
    database.write_text(re.sub(r"slices: \[[^\]]*\]", "slices: []", text), encoding="utf-8")


@pytest.mark.parametrize(
    ("host", "programs", "paragraph"),
    [
        ("worker1", vm_launcher.PROGRAMS, "Every worker (tried"),
        ("network", vlan_manager.PROGRAMS, "The network node needs:"),
    ],
)
def test_the_packages_it_lists_bring_every_program(
    lab: Lab, host: str, programs: tuple[str, ...], paragraph: str
) -> None:
    listed = re.findall(r"apt-get install (.*)", HOSTS[HOSTS.index(paragraph) :])[0].split()
    for name in (*programs, "sudo", "sshd"):
        program = lab.exec(host, ["sh", "-c", 'readlink -f "$(command -v "$1")"', "sh", name]).stdout.strip()
        owners = lab.exec(host, ["dpkg", "-S", f"*bin/{Path(program).name}"]).stdout
        assert {line.split(":")[0] for line in owners.splitlines()} & set(listed), name


ON_HOSTS = {
    "doctor": (0, "Database and hosts agree: no findings"),
    "doctor --fix": (2, "Without a terminal to ask on, it needs --yes"),
    "prove": (0, "Isolation holds: "),
    "host forget-key 10.0.10.1": (0, "The key of 10.0.10.1 is forgotten"),
    "host forget 10.0.10.2": (1, "10.0.10.2 answers, and its VMs may run"),
}
"""Each command for hosts on the pages -> its exit status and answer on a lab without slices and terminal."""


def test_every_command_for_hosts_is_tried() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    assert {*re.findall(r"^python3 cli\.py ((?:doctor|prove|host).*)$", pages, re.MULTILINE)} == {*ON_HOSTS}


@pytest.mark.parametrize("words", ON_HOSTS)
def test_a_command_for_hosts_answers_as_its_page_says(lab: Lab, words: str) -> None:
    argv = [f"{ROOT}/.venv/bin/python", f"{ROOT}/cli.py", "--database", str(lab.database), *words.split()]
    done = lab.run(argv, check=False)
    status, answer = ON_HOSTS[words]
    assert done.returncode == status, done.stderr
    assert answer in done.stdout + done.stderr


def test_the_bridge_is_made_by_the_command_of_the_page(lab: Lab) -> None:
    (command,) = re.findall(r"^ovs-vsctl --may-exist add-br .*$", HOSTS, re.MULTILINE)
    for host in ("worker1", "network"):
        lab.exec(host, command.split())
        assert "ens4" in lab.exec(host, ["ovs-vsctl", "list-ports", "br-int"]).stdout.split()

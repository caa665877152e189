"""Completion: a real bash completes every command and option; the script for zsh names the same."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from docs.reference.commands import leaves
from menu.arguments import parser
from menu.completion import SHELLS, completion
from tests.support.playing import run_command

ASK = """\
source "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { echo "compopt $*"; }
_complete_cli_py
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""Does what bash does for the Tab key. `compopt` works in a real completion only; `no_files` looks at it there."""

ASK_ZSH = """\
setopt nullglob extendedglob rcexpandparam
compdef() {}
_describe() { print -rl -- ${(P)2}; }
_message() { print -r message $1; }
_files() { print files; }
source "$1"
words=("${@:2}")
CURRENT=${#words}
_complete_cli_py
true
"""
"""Does the same in zsh, with options that its completion sets."""

NO_FILES = "compopt +o default"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the script for each shell, in a file."""
    folder = tmp_path_factory.mktemp("completion")
    found = {shell: folder / f"completion.{shell}" for shell in SHELLS}
    for shell, path in found.items():
        path.write_text(completion(shell, "cli.py", parser(Path("database.yaml"))), encoding="utf-8")
    return found


def completed(script: Path, *words: str, program: str = "cli.py") -> list[str]:
    """Return the words that bash offers in place of the last of `words`."""
    argv = ["bash", "--norc", "-c", ASK, "ask", str(script), program, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


CASES = {
    ("gra",): [NO_FILES, "graph"],
    ("snap",): [NO_FILES, "snapshot", "snapshots"],
    ("--da",): [NO_FILES, "--database"],
    ("graph", "lab", "--fo"): [NO_FILES, "--format"],
    ("graph", "--format", ""): [NO_FILES, "text", "mermaid", "dot", "svg"],
    ("graph", "--format", "=", "s"): [NO_FILES, "svg"],
    ("graph", "--format", "="): [NO_FILES, "text", "mermaid", "dot", "svg"],
    ("--as", "list", "graph", "lab", "--form"): [NO_FILES, "--format"],
    ("keys", ""): [NO_FILES, "add", "list", "remove"],
    ("keys", "list", "--j"): [NO_FILES, "--json"],
    ("list", ""): [NO_FILES, "--help", "--json", "--as"],
    ("completion", ""): [NO_FILES, "bash", "zsh"],
    ("deploy", "lab", "--wait", ""): [NO_FILES],
    ("validate", "lab."): [],
    ("plan", ""): [],
    ("--database", ""): [],
    ("image", "add", "/srv/"): [],
    ("nothing", "$(touch hacked)"): [NO_FILES],
}
"""Words before the cursor, and what is offered; an empty list leaves files to bash."""


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_bash_offers_what_may_follow(scripts: dict[str, Path], words: tuple[str, ...]) -> None:
    assert completed(scripts["bash"], *words) == CASES[words]


NAMED = {
    ("deploy", ""): ["names"],
    ("plan", ""): ["names"],
    ("deploy", "--wait", "=", "5", ""): ["names"],
    ("deploy", "--wait", "5", ""): ["names"],
    ("start", "lab", "r1", ""): ["names", "lab"],
    ("snapshot", "lab", "before", ""): ["names", "lab"],
    ("console", "la", "--watch", ""): ["names", "la"],
    ("link", "lab", "r1", ""): ["names", "lab"],
    ("--as", "bob", "--database", "=", "x y", "show", ""): ["--as", "bob", "--database", "x y", "names"],
    ("show", "--as", "bob", ""): ["--as", "bob", "names"],
    ("show", "--as=bob", ""): ["--as=bob", "names"],
    ("show", "lab", ""): [],
    ("snapshot", "lab", ""): [],
    ("console", "lab", "r1", ""): [],
    ("deploy", "--"): [],
    ("list", ""): [],
}
"""Words before the cursor, and the words with which the script calls the program for names; none: it does not."""


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """Return a program that notes its words, and names things as a hostile state would."""
    program = tmp_path / "a b" / "cli.py"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
printf '%s\\n' "$@" >>'{tmp_path}/called'
printf '%s\\n' lab ring_2 '$(touch hacked)' 'a;b' '*'
echo trouble >&2
"""
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("words", NAMED, ids=" ".join)
def test_bash_asks_the_program_for_the_names_of_slices_and_vms(
    scripts: dict[str, Path], stub: Path, words: tuple[str, ...]
) -> None:
    found = completed(scripts["bash"], *words, program=str(stub))
    called = stub.parent.with_name("called")
    assert (called.read_text().splitlines() if called.exists() else []) == NAMED[words]
    assert ([line for line in found if line in {"lab", "ring_2"}] == ["lab", "ring_2"]) == bool(NAMED[words])
    assert not {"*", "a;b", "hacked"} & {*found}


def test_bash_offers_the_names_that_begin_so(scripts: dict[str, Path], stub: Path) -> None:
    assert completed(scripts["bash"], "deploy", "ri", program=str(stub)) == [NO_FILES, "ring_2"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_of_the_parser_is_known(scripts: dict[str, Path], shell: str) -> None:
    text = scripts[shell].read_text(encoding="utf-8")
    lines = [line.partition(") ") for line in text.splitlines() if line.endswith(" ;;") and "options=" in line]
    for name, command in leaves(parser(Path())):
        options = next(act for words, _, act in lines if f"' {name}'".replace("' '", "''") in words)
        for action in command._actions:
            assert all(option in options for option in action.option_strings if option.startswith("--"))


def test_a_bash_with_a_terminal_completes_at_the_tab_key(scripts: dict[str, Path], tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "TERM": "dumb", "HISTFILE": "/dev/null", "INPUTRC": "/dev/null"}
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=inside, stdout=inside, stderr=inside, cwd=tmp_path, env=variables
    ) as shell:
        os.close(inside)
        try:
            os.write(terminal, f"source {scripts['bash']}\necho read''y\n".encode())
            await_output(terminal, rb"ready\r\n")
            os.write(terminal, b"./cli.py gra\tlab --for\tsv\t")
            await_output(terminal, rb"\./cli\.py graph lab --format svg ")
        finally:
            shell.kill()
            os.close(terminal)


def await_output(terminal: int, pattern: bytes) -> None:
    deadline, seen = time.monotonic() + 20, b""
    while not re.search(pattern, seen):
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], seen
        seen += os.read(terminal, 4096)


def test_the_script_for_bash_is_clean(scripts: dict[str, Path]) -> None:
    subprocess.run(["shellcheck", str(scripts["bash"])], check=True)


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed, and no package of ours needs it")
def test_zsh_offers_commands_options_values_and_names(scripts: dict[str, Path], stub: Path) -> None:
    def offered(*words: str) -> list[str]:
        argv = ["zsh", "-f", "-c", ASK_ZSH, "ask", str(scripts["zsh"]), str(stub), *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.splitlines()

    assert "graph:show the picture of a slice" in offered("gra")
    assert offered("graph", "--format", "") == ["text", "mermaid", "dot", "svg"]
    assert offered("deploy", "lab", "--wait", "")[0].startswith("message ")
    assert offered("validate", "") == ["files"]
    assert offered("deploy", "") == ["lab", "ring_2"]
    assert offered("plan", "") == ["lab", "ring_2", "files"]
    assert offered("show", "--as", "bob", "l") == ["lab", "ring_2"]
    assert stub.parent.with_name("called").read_text().splitlines()[-3:] == ["--as", "bob", "names"]
    assert any(line.startswith("--yes:") for line in offered("delete", "lab", "-"))


def test_the_script_for_zsh_closes_what_it_opens(scripts: dict[str, Path]) -> None:
    """Where there is no zsh: bash reads the same words, but for the arrays of zsh's `words[CURRENT]`."""
    subprocess.run(["bash", "-n", str(scripts["zsh"])], check=True)


def test_the_command_writes_the_script_for_any_name(tmp_path: Path) -> None:
    status, output, errors = run_command(tmp_path / "none.yaml", "completion", "bash", "--for", "cloud")
    assert (status, errors) == (0, "")
    assert output.endswith("complete -o default -F _complete_cloud cloud\n")
    for words in (("fish",), ("bash", "--for", "a b"), ("bash", "--for", "$(x)"), ()):
        assert run_command(tmp_path / "none.yaml", "completion", *words)[0] == 2

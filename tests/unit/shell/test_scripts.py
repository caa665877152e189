"""The scripts as files: names, usage, includes, and the language in which they are written."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from shell import scripts
from shell.scripts import load, source
from tests.support.paths import ROOT
from tests.support.sources import files, text_of

PATHS = sorted(str(path.relative_to(scripts.FOLDER).with_suffix("")) for path in scripts.FOLDER.rglob("*.sh"))
FUNCTIONS = [path for path in PATHS if path.startswith("functions/")]
SCRIPTS = [path for path in PATHS if path not in FUNCTIONS]
SENT_ALONE = {"call", "claim", "mark", "take-in", "fence"}
"""Functions that `remote` puts before what it has a host do."""
CHECKED = [*SCRIPTS, *(f"functions/{name}" for name in SENT_ALONE)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scripts, "FOLDER", tmp_path)
    (tmp_path / "functions").mkdir()
    load.cache_clear()
    scripts._read.cache_clear()
    scripts.functions.cache_clear()
    return tmp_path


def write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def test_no_two_scripts_have_one_name() -> None:
    names = [load(path).name for path in SCRIPTS]
    assert len(names) == len(set(names)) > 60


def test_a_file_says_first_what_it_does() -> None:
    """Check that the line below the usage begins with a verb: Prints, Fails, Removes."""
    assert not [path for path in PATHS if not re.match(r"# [A-Z][a-z]+s [$\w]", read(path).splitlines()[1])]


def test_functions_say_how_they_are_called() -> None:
    assert not [path for path in FUNCTIONS if not source(path).startswith("# usage: ")]


def test_every_script_is_used() -> None:
    product = [path for path in files(".py") if "tests" not in path.relative_to(ROOT).parts]
    loaded = {name for path in product for name in re.findall(r'\bload\("([^"]+)"\)', text_of(path))}
    assert loaded == set(SCRIPTS)


def test_every_function_is_used() -> None:
    included = {name for path in PATHS for name in re.findall(r"^# include: (\S+)$", read(path), re.MULTILINE)}
    assert {f"functions/{name}" for name in included | SENT_ALONE} == set(FUNCTIONS)


def read(path: str) -> str:
    return (scripts.FOLDER / f"{path}.sh").read_text(encoding="utf-8")


def test_dash_can_read_them() -> None:
    for path in PATHS:
        done = subprocess.run(["dash", "-n"], input=source(path), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), path


@pytest.mark.parametrize("path", [*(ROOT / "bench/scripts").iterdir(), ROOT / "lab/install-packages"], ids=str)
def test_shellcheck_finds_nothing_in_scripts_beside_the_product(path: Path) -> None:
    done = subprocess.run(["shellcheck", "--shell=dash", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    """Each script with its functions; a directive that silences it has its reason behind it."""
    for path in CHECKED:
        (tmp_path / f"{path.replace('/', '-')}.sh").write_text(source(path))
    argv = ["shellcheck", "--shell=dash", "--format=gcc", *sorted(map(str, tmp_path.iterdir()))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_directive_for_shellcheck_has_a_reason() -> None:
    directives = [line for path in PATHS for line in re.findall(r"^\s*# shellcheck .*$", read(path), re.MULTILINE)]
    assert directives
    assert not [line for line in directives if not re.fullmatch(r"\s*# shellcheck disable=[SC\d,]+ # \w.*", line)]


def test_lines_have_at_most_120_columns() -> None:
    assert not [(path, line) for path in PATHS for line in read(path).splitlines() if len(line) > 120]


def test_a_file_begins_with_usage_comments_and_includes() -> None:
    """Check the head: a later include would be sent before the lines above it."""
    for path in PATHS:
        text = read(path)
        head = re.match(r"# usage: .*\n(#( .*)?\n)*", text)
        assert head, path
        assert "# include: " not in text[head.end() :], path


def test_hosts_get_neither_comments_nor_empty_lines(folder: Path) -> None:
    write(folder / "do.sh", "# usage: do.sh WORD", "", "word=$1", "  # a comment", 'echo "$word"  # is sent')
    assert load("do").text == 'word=$1\necho "$word"  # is sent'


def test_functions_are_there_once(folder: Path) -> None:
    write(folder / "functions/one.sh", "# usage: one", "one() { echo 1; }")
    write(folder / "functions/two.sh", "# usage: two", "# include: one", "two() { one; one; }")
    write(folder / "do.sh", "# usage: do.sh", "# include: one", "# include: two", "two")
    assert load("do").text == "one() { echo 1; }\ntwo() { one; one; }\ntwo"
    assert subprocess.run(load("do").argv(), capture_output=True, text=True, check=False).stdout == "1\n1\n"


def test_functions_come_with_those_that_they_call(folder: Path) -> None:
    write(folder / "functions/one.sh", "# usage: one", "one() { echo 1; }")
    write(folder / "functions/two.sh", "# usage: two", "# include: one", "two() { one; }")
    assert scripts.functions("two", "one") == "one() { echo 1; }\ntwo() { one; }\n"


def test_a_function_that_is_not_there_is_an_error(folder: Path) -> None:
    write(folder / "do.sh", "# usage: do.sh", "# include: nothing", "true")
    with pytest.raises(FileNotFoundError, match=r"functions/nothing\.sh"):
        load("do")


@pytest.mark.parametrize("usage", ["", "# usage: other.sh", "# usage: do.sh word", "# usage: do.sh A... B", "true"])
def test_a_script_without_its_usage_is_an_error(folder: Path, usage: str) -> None:
    write(folder / "do.sh", usage, "true")
    with pytest.raises(ValueError, match="usage"):
        load("do")


@pytest.mark.parametrize(
    ("usage", "fitting"),
    [
        ("", {0}),
        (" FILE SIZE_MIB", {2}),
        (" FILE WORD...", {1, 2, 3, 4, 5}),
        (" [PIDFILE MARK]...", {0, 2, 4}),
        (" FILE [PIDFILE MARK]...", {1, 3, 5}),
    ],
)
def test_the_number_of_words_is_that_of_the_usage(folder: Path, usage: str, fitting: set[int]) -> None:
    write(folder / "do.sh", f"# usage: do.sh{usage}", "true")
    do = load("do")
    for number in range(6):
        words = ["word"] * number
        if number in fitting:
            assert do.argv(*words) == ("sh", "-c", "true", "do.sh", *words)
        else:
            with pytest.raises(ValueError, match=rf"^usage: do\.sh.*: it was given {number} words$"):
                do.argv(*words)

"""The reference pages in the repository equal the output of their generators."""

from __future__ import annotations

import re

import pytest

from core.rule import Broken
from docs.reference.commands import leaves
from docs.reference.database import keys
from docs.reference.meanings import MEANINGS, SECTIONS
from docs.reference.pages import FOLDER, PAGES
from menu.arguments import parser
from tests.support.paths import ROOT


@pytest.mark.parametrize("name", PAGES)
def test_the_page_equals_the_generators_output(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run .venv/bin/python -m docs.reference"


def test_every_page_of_the_folder_is_generated_and_listed() -> None:
    pages = {path.name for path in FOLDER.glob("*.md")} - {"README.md"}
    listed = re.findall(r"\[([\w.-]+)\]\(\1\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert pages == {*PAGES} == {*listed}


def test_every_key_of_the_file_has_a_meaning_and_a_table() -> None:
    assert {*MEANINGS} == {*keys()}
    records = {"", *(path.rpartition(".")[0] for path in keys())}
    assert {*SECTIONS} == records


def test_a_refusal_uses_the_words_of_the_page() -> None:
    for path, rule in keys().items():
        if not rule.words.endswith("or nothing"):
            with pytest.raises(Broken) as fault:
                rule(object())
            said = re.fullmatch(r"must be (.*?)(, not .*)?", fault.value.reason)
            assert said, path
            assert rule.words.startswith(said[1]), path


def test_every_command_is_on_the_page() -> None:
    page = PAGES["commands.md"]()
    commands = [name for name, _ in leaves(parser(ROOT / "database.yaml"))]
    assert {"", "doctor", "user add", "host forget"} <= {*commands}
    assert [f"## cli.py {name}".rstrip() for name in commands] == re.findall(r"^## .*$", page, re.MULTILINE)

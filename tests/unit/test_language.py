"""The project's plain English: no hard words, docstrings that begin with a verb or a noun, short sentences.

The readers' first language is Spanish. `CONTRIBUTING.md` gives the rules and the reasons.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.paths import ROOT
from tests.support.sources import files, text_of, tree_of

SYLLABLES = (
    "ten-ant who-ever no-body some-body a-new men-ded hos-pital hee-d ail-ment stran-ger pa-tience wi-sh sea-l wal-ls"
)
HARD_WORDS = SYLLABLES.replace("-", "").split()
"""Words with a plainer synonym in this field; they are joined here, so that this file has none of them."""

LONGEST_SENTENCE = 30
"""Maximum number of words; a piece of code within a sentence counts as one."""

_HARD = re.compile(rf"(?<![a-z.])({'|'.join(HARD_WORDS)})(s|es|ed|ing)?(?![a-z])", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_RELATIVE = re.compile(r"(What|Whether|Who(ever)?)\b")
_LIST_ITEM = re.compile(r"\s*([-*]|\d+\.)\s+")
_MARKDOWN_OTHER = re.compile(r"\s*(\||#|<|!\[|\[[^\]]+\]:|---)")


class Paragraph(NamedTuple):
    """A paragraph, with the number of its first line."""

    line: int
    words: str


def hard_words(text: str) -> list[str]:
    """Return the hard words of a text, also inside identifiers.

    A suffix of a file's name, such as `.txt`, is data on hosts and no word. A name after a dot is checked where it is
    defined.
    """
    return [found[0] for found in _HARD.finditer(_CAMEL.sub("_", text))]


def docstrings(tree: ast.Module) -> Iterator[Paragraph]:
    """Yield the docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(tree):
        body = getattr(node, "body", [])
        for before, statement in pairwise([None, *body] if isinstance(body, list) else []):
            is_first = before is None and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if is_text and (is_first or isinstance(before, ast.Assign | ast.AnnAssign)):
                yield Paragraph(statement.lineno, str(statement.value.value))


def comments(source: str) -> Iterator[Paragraph]:
    """Yield the comments of Python code, one for each block of lines."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from _blocks((token.start, token.string) for token in tokens if token.type == tokenize.COMMENT)


def shell_comments(source: str) -> Iterator[Paragraph]:
    """Yield the comments of a shell script that stand on their own lines, without usage and includes."""
    found = ((number, re.match(r"(\s*)(#(?!!).*)", line)) for number, line in enumerate(source.splitlines(), start=1))
    lines = (((number, len(match[1])), match[2]) for number, match in found if match)
    yield from _blocks(line for line in lines if not re.match(r"# (usage|include):", line[1]))


def _blocks(lines: Iterator[tuple[tuple[int, int], str]]) -> Iterator[Paragraph]:
    """Join comments on successive lines in the same column."""
    block: list[str] = []
    start = end = (0, 0)
    for (line, column), text in lines:
        if block and (line, column) != (end[0] + 1, end[1]):
            yield Paragraph(start[0], "\n".join(block))
            block = []
        start = start if block else (line, column)
        end = (line, column)
        block.append(re.sub(r"^#+ ?", "", text))
    if block:
        yield Paragraph(start[0], "\n".join(block))


def prose(markdown: str) -> Iterator[Paragraph]:
    """Yield the prose of a page, without code blocks, tables, headings and comments."""
    is_code = False
    lines = []
    for line in markdown.splitlines():
        if line.lstrip().startswith("```"):
            is_code = not is_code
        lines.append("" if is_code or line.startswith("    ") or _MARKDOWN_OTHER.match(line) else line)
    yield Paragraph(1, "\n".join(lines).replace("```", ""))


def sentences(text: Paragraph) -> Iterator[Paragraph]:
    """Yield the sentences of a text; a list item or an empty line ends one as well."""
    paragraph: list[str] = []
    start = text.line
    for number, line in enumerate([*text.words.splitlines(), ""], start=text.line):
        if not line.strip() or _LIST_ITEM.match(line):
            yield from (Paragraph(start, each) for each in re.split(r"(?<=[.!?])\s+", " ".join(paragraph).strip()))
            paragraph, start = [], number
        paragraph.append(_LIST_ITEM.sub("", line).strip())


def length(sentence: str) -> int:
    """Return the number of words; code in backquotes and the target of a link are no further words."""
    plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`+[^`]*`+", "code", sentence))
    return len(re.findall(r"\S*\w\S*", plain))


def texts(path: Path) -> Iterator[Paragraph]:
    """Yield all prose of a file."""
    source = text_of(path)
    if path.suffix == ".py":
        yield from docstrings(tree_of(path))
        yield from comments(source)
    elif path.suffix == ".sh":
        yield from shell_comments(source)
    else:
        yield from prose(source)


def test_files_of_every_kind_and_folder_are_checked() -> None:
    checked = {path.relative_to(ROOT).as_posix() for path in files(".py", ".sh", ".md")}
    assert {"cli.py", "remote/ssh.py", "shell/functions/runs.sh", "README.md", "docs/spec/slices.md"} <= checked
    assert Path(__file__).relative_to(ROOT).as_posix() in checked
    assert not [path for path in checked if path.startswith(".")]


def test_no_hard_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word}"
        for path in files(".py", ".sh", ".md")
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        for word in hard_words(line)
    ]
    assert found == []


def test_no_docstring_begins_with_a_relative_word() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{text.line}: {text.words[:60]}"
        for path in files(".py")
        for text in docstrings(tree_of(path))
        if _RELATIVE.match(text.words)
    ]
    assert found == []


def test_no_sentence_is_too_long() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{sentence.line}: {length(sentence.words)} words: {sentence.words[:60]}"
        for path in files(".py", ".sh", ".md")
        for text in texts(path)
        for sentence in sentences(text)
        if length(sentence.words) > LONGEST_SENTENCE
    ]
    assert found == []


# --- the check itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", HARD_WORDS)
def test_a_hard_word_is_found_in_any_form(word: str) -> None:
    name = f"a{word.capitalize()}Name"
    for text in (
        word,
        word.upper(),
        f"{word}s.",
        f"_{word}_",
        f"test_{word}ed_name",
        name,
        f"see `{word}`",
        f"({word}es)",
    ):
        assert hard_words(text), text


@pytest.mark.parametrize("text", ["thread", "firewall rules", "wall-clock", "image.qcow2." + HARD_WORDS[-2], "news"])
def test_other_words_are_not_found(text: str) -> None:
    assert hard_words(text) == []


def test_all_docstrings_are_found() -> None:
    source = '"""Module."""\nNAME = 1\n"""Attribute."""\nclass A:\n    """Class."""\n    b: int\n    """Field."""\n'
    source += (
        '    def c(self):\n        """Method."""\n        "no docstring"\n        self.d = 1\n        """Field."""\n'
    )
    found = sorted(docstrings(ast.parse(source)))
    assert found == [(1, "Module."), (3, "Attribute."), (5, "Class."), (7, "Field."), (9, "Method."), (12, "Field.")]


def test_comments_are_joined_by_block() -> None:
    source = "# one\n# two\n\n# three\nx = 1  # four\n    # five\n"
    assert [*comments(source.replace("    #", "#"))] == [(1, "one\ntwo"), (4, "three"), (5, "four"), (6, "five")]
    assert [*shell_comments("#!/bin/sh\n# usage: a\n# one\n  # two\nx # no\n")] == [(3, "one"), (4, "two")]


def test_prose_of_a_page_has_no_code_no_tables_and_no_headings() -> None:
    page = "# Head\nOne.\n```sh\ncode\n```\n| a | b |\n- Two\n- [Three](a.md)\n"
    assert [each.words for text in prose(page) for each in sentences(text) if each.words.strip()] == [
        "One.",
        "Two",
        "[Three](a.md)",
    ]


@pytest.mark.parametrize(
    ("sentence", "words"),
    [("One, two and three.", 4), ("Run `a b c` - now", 3), ("See [the page](docs/a b.md).", 3), ("", 0)],
)
def test_code_and_links_count_once(sentence: str, words: int) -> None:
    assert length(sentence) == words


def test_a_list_item_ends_a_sentence() -> None:
    assert [each.words for each in sentences(Paragraph(1, "One:\n- two\n- three. Four\n\nFive?"))] == [
        "One:",
        "two",
        "three.",
        "Four",
        "Five?",
    ]

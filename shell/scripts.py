"""Load the scripts that hosts run: each is a file beside this module, in the folder of its area.

A file begins with the words that it takes: `# usage: NAME.sh WORD WORD`. Words in capitals are single ones; `WORD...`
at the end are any number of one kind, and `[WORD WORD]...` any number of such groups. Comments follow, and then a line
`# include: NAME` for each file `functions/NAME.sh` whose functions it calls; these files can include others. Hosts get
neither comments nor empty lines, so a line within quotes must not be empty or begin with `#`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent

_USAGE = re.compile(
    r"# usage: (?P<name>\S+\.sh)(?P<words>( [A-Z_]+)*)( ((?P<any>[A-Z_]+)|\[(?P<group>[A-Z_ ]+)\])\.\.\.)?"
)
_INCLUDE = re.compile(r"^# include: (\S+)$", re.MULTILINE)
_PARTS: dict[str, tuple[str, ...]] = {}


@dataclass(frozen=True)
class Script:
    """A text for `sh -c`, known by its name; `usage` is the line that names its words."""

    name: str
    text: str
    usage: str

    def argv(self, *words: str) -> tuple[str, ...]:
        """Return the argv that runs the script with these words. Raise `ValueError` where their number is wrong."""
        usage = _usage(self.usage)
        further = len(words) - len(usage["words"].split())
        step = 1 if usage["any"] else len((usage["group"] or "").split())
        if further < 0 or (further % step if step else further):
            raise ValueError(f"{self.usage.removeprefix('# ')}: it was given {len(words)} words")
        return ("sh", "-c", self.text, self.name, *words)


@cache
def load(path: str) -> Script:
    """Return the script of a file, such as `disks/make-overlay`. Raise `ValueError` where it has no proper usage."""
    usage = _read(path).partition("\n")[0]
    name = f"{path.rpartition('/')[2]}.sh"
    if _usage(usage)["name"] != name:
        raise ValueError(f"shell/{path}.sh: its first line has to be: # usage: {name} WORD...")
    included = tuple(f"{_sent(each)}\n" for each in _included(path))
    text = "".join(included) + _sent(path)
    _PARTS[text] = (*included, _sent(path))
    return Script(name, text, usage)


@cache
def functions(*names: str) -> str:
    """Return the texts of functions and of those they include, for a shell that is given more to read."""
    paths = [f"functions/{name}" for name in names]
    wanted = dict.fromkeys(each for path in paths for each in (*_included(path), path))
    return "".join(f"{_sent(each)}\n" for each in wanted)


def parts(text: str) -> tuple[str, ...]:
    """Return the functions that a script includes, and the rest of its text; a text of no file is one part."""
    return _PARTS.get(text, (text,))


def source(path: str) -> str:
    """Return the text of a file with its comments, behind the files that it includes."""
    return "".join(map(_read, (*_included(path), path)))


def _included(path: str) -> Iterator[str]:
    """Yield the paths of all files that a file includes, each once and behind those that it includes itself."""
    found: dict[str, None] = {}
    for name in _INCLUDE.findall(_read(path)):
        function = f"functions/{name}"
        found |= dict.fromkeys((*_included(function), function))
    yield from found


def _sent(path: str) -> str:
    lines = _read(path).splitlines()
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))


@cache
def _read(path: str) -> str:
    return (FOLDER / f"{path}.sh").read_text(encoding="utf-8")


@cache
def _usage(line: str) -> re.Match[str]:
    if matched := _USAGE.fullmatch(line):
        return matched
    raise ValueError(f"{line!r} is no usage of a script")

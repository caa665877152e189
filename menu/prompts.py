"""Ask questions. Each is asked again, after a sentence with the allowed answers, until the answer is valid.

A terminal does more than a pipe: `?` explains a question, names do as well as ids and numbers, Enter repeats.

The text of a question is where it is asked: in the module of its entry (`ENTRIES` in entries.py), or in session.py.
Only the questions for a new password, which several of them ask, are here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from core.errors import CloudError
from core.formats import MAX_NAME_LENGTH, is_valid_name
from core.names import LAST_ID
from menu.keyboard import Keyboard
from menu.screen import Screen

T = TypeVar("T")

BACK = ".."
"""The answer that leads from any question back to the menu. It is no valid name, number or letter."""

HELP = "?"
"""The answer that shows what may be typed, on a terminal only."""

WAY_BACK = f'"{BACK}" leads back to the menu'

LONGEST_ANSWER = 256

NAME_RULE = f"1 to {MAX_NAME_LENGTH} letters (a-z, A-Z), digits, hyphens or underscores"

_INTERFACE = re.compile(r"eth[0-9]{1,2}")


class Back(Exception):
    """The user's request to leave the question for the menu."""


@dataclass(frozen=True)
class Enter:
    """The answer that Enter stands for at one question, and how the question shows it."""

    answer: str
    shown: str


@dataclass
class Last:
    """The slice and the VM that were used last in a session, by their ids; 0 for none."""

    slice_id: int = 0
    vm_id: int = 0


@dataclass(frozen=True)
class Named:
    """Objects with ids and names, of which a question asks for one.

    `find` returns the id of the object that a word means, or raises `CloudError`. `enter` may return None.
    """

    kind: str
    find: Callable[[str], int]
    choices: Callable[[], Iterable[str]]
    enter: Callable[[], Enter | None] = lambda: None


@dataclass(frozen=True)
class Question(Generic[T]):
    """A question. `read` returns None for a refused answer; `allowed` is the sentence about answers that are read.

    On a terminal, `?` shows `explained`, or else that sentence, and the lines of `choices`. Enter stands for `enter`.
    """

    prompt: str
    read: Callable[[str], T | None]
    allowed: str
    longest: int = LONGEST_ANSWER
    choices: Callable[[], Iterable[str]] = tuple
    enter: Enter | None = None
    leads_back: bool = True
    explained: str = ""

    @property
    def prompt_with_enter(self) -> str:
        """Return the prompt with the answer that Enter stands for: `Slice ID [1000 lab]: `."""
        return f"{self.prompt.removesuffix(': ')} [{self.enter.shown}]: " if self.enter else self.prompt


class Prompts:
    """The kinds of questions of the menu. Each raises `Back`, and `EOFError` at the end of input.

    `way_back`: the words about `..` at a question; commands have no menu to go back to.
    """

    def __init__(self, keyboard: Keyboard, screen: Screen, way_back: str = WAY_BACK) -> None:
        self._keyboard = keyboard
        self._screen = screen
        self._way_back = way_back

    def end_after(self, seconds: float | None) -> None:
        """End all questions by `EOFError` after so many seconds from now, or remove that limit with None."""
        self._keyboard.idle.deadline = None if seconds is None else time.monotonic() + seconds

    def name(self, prompt: str, what: str) -> str:
        """Ask for the name of a slice or a VM."""
        return self._ask(_name_question(prompt, what))

    def username(self, prompt: str) -> str:
        """Ask for a user's name. There is no menu to go back to yet."""
        while True:
            try:
                return self._ask(_name_question(prompt, "A user name", leads_back=False))
            except Back:
                self._screen.error(f"A user name has {NAME_RULE}")

    def password(self, prompt: str) -> str:
        """Ask for a password. Spaces belong to it."""
        while True:
            answer = self._keyboard.secret(prompt)
            if 0 < len(answer) <= LONGEST_ANSWER:
                return answer
            self._screen.error(f"A password has 1 to {LONGEST_ANSWER} characters")

    def secret(self, prompt: str) -> str:
        """Ask for a password inside the menu, where `..` leads back."""
        answer = self.password(prompt)
        if answer == BACK:
            raise Back
        return answer

    def new_password(self) -> str:
        """Ask for a new password twice. The orchestrator checks its strength."""
        while True:
            password = self.secret("New password: ")
            if self.secret("The same again: ") == password:
                return password
            self._screen.error("The two differ")

    def number(self, prompt: str, what: str, low: int, high: int) -> int:
        """Ask for a whole number from `low` to `high`."""
        allowed = f"{what} is a whole number from {low} to {high}"
        return self._ask(Question(prompt, lambda answer: whole_number(answer, low, high), allowed))

    def entry(self, prompt: str, what: str, low: int, high: int) -> int:
        """Ask for the number of an entry. Enter or `?` asks for the menu, which is a reason for `Back`."""
        allowed = f"{what} is a whole number from {low} to {high}; Enter shows the menu"
        answer = self._ask(
            Question(prompt, lambda text: whole_number(text, low, high) if text else -1, allowed, choices=_go_back)
        )
        if answer < 0:
            raise Back
        return answer

    def identifier(self, prompt: str, what: str) -> int:
        """Ask for the id of a slice or a VM. The orchestrator checks that it exists."""
        return self.number(prompt, what, 1, LAST_ID)

    def named(self, prompt: str, what: str, objects: Named) -> int:
        """Ask for an object by its id, on a terminal also by its name; return the id."""
        if not self._screen.terminal:
            return self.identifier(prompt, what)
        allowed = f"A {objects.kind} is its ID, its name, or the beginning of its name"

        def read(word: str) -> int | None:
            return objects.find(word) if is_valid_name(word) else None

        return self._ask(Question(prompt, read, allowed, choices=objects.choices, enter=objects.enter()))

    def choice(self, prompt: str, options: Sequence[T], names: Sequence[str], lines: Iterable[str] = ()) -> T:
        """Ask for one of the options by its number, counted from 1, on a terminal also by its name."""
        allowed = f"The choice is a whole number from 1 to {len(options)}"

        def read(answer: str) -> int | None:
            number = whole_number(answer, 1, len(options))
            return named_place(answer, names) if number is None and self._screen.terminal else number

        if self._screen.terminal:
            allowed += ", or a name from the list"
        return options[self._ask(Question(prompt, read, allowed, choices=lambda: lines)) - 1]

    def pick(self, prompt: str, options: Mapping[str, T], names: Sequence[str] = ()) -> T:
        """List the titles of options, and ask for one as `choice` does. Without `names`, its title is its name."""
        lines = [f"  {number}. {title}" for number, title in enumerate(options, start=1)]
        for line in lines:
            self._screen.line(line)
        return self.choice(prompt, [*options.values()], names or [*options], lines)

    def option(self, prompt: str, options: Sequence[str]) -> str:
        """Ask for one of the options by its name."""
        allowed = f"Answer {' or '.join(options)}"
        return self._ask(Question(prompt, lambda answer: answer if answer in options else None, allowed))

    def text(
        self,
        prompt: str,
        what: str,
        longest: int = LONGEST_ANSWER,
        choices: Iterable[str] = (),
        enter: Enter | None = None,
        explained: str = "",
    ) -> str:
        """Ask for a text, which the caller checks; `explained` says on a terminal what it is."""
        allowed = f"{what} has 1 to {longest} characters"
        return self._ask(
            Question(prompt, lambda text: text or None, allowed, longest, lambda: choices, enter, explained=explained)
        )

    def optional(self, prompt: str, accepts: Callable[[str], bool], allowed: str) -> str:
        """Ask for a text that may be empty; `allowed` is the sentence about a text that is not accepted."""
        return self._ask(Question(prompt, lambda answer: answer if accepts(answer) else None, allowed))

    def interface(self, prompt: str, names: Iterable[str]) -> str:
        """Ask for the name of an interface, such as one of `names`."""
        allowed = "An interface is one of those listed above, such as eth1"
        return self._ask(Question(prompt, _interface, allowed, choices=lambda: (f"  {name}" for name in names)))

    def checked(self, ask: Callable[[], T], check: Callable[[T], object]) -> T:
        """Ask until `check` accepts the answer. Both raise `CloudError` with a sentence for the user."""
        while True:
            try:
                answer = ask()
                check(answer)
            except CloudError as refusal:
                self._screen.error(str(refusal))
            else:
                return answer

    def yes(self, prompt: str) -> bool:
        """Ask a question and return whether the answer is yes."""
        return self._ask(Question(prompt, lambda answer: _YES_OR_NO.get(answer.lower()), "Answer y or n"))

    def letter(self, prompt: str, meanings: Mapping[str, str]) -> str:
        """Ask for one of the letters of `meanings`. An empty one stands for Enter."""
        allowed = " or ".join(f"{letter or 'Enter'} ({meaning})" for letter, meaning in meanings.items())

        def read(answer: str) -> str | None:
            return answer.lower() if answer.lower() in meanings else None

        return self._ask(Question(prompt, read, f"Answer {allowed}"))

    def _ask(self, question: Question[T]) -> T:
        terminal = self._screen.terminal
        prompt = question.prompt_with_enter if terminal else question.prompt
        while True:
            answer = self._keyboard.line(prompt).strip(" \t")
            if answer == BACK:
                raise Back
            if terminal and answer == HELP:
                self._explain(question)
                continue
            if terminal and not answer and question.enter:
                answer = question.enter.answer
            parsed = question.read(answer) if len(answer) <= question.longest else None
            if parsed is not None:
                return parsed
            self._screen.error(question.allowed)

    def _explain(self, question: Question[T]) -> None:
        lines = [*question.choices()]
        enter = f"Enter takes {question.enter.shown}" if question.enter else ""
        way_back = self._way_back if question.leads_back else ""
        self._screen.line("; ".join(filter(None, (question.explained or question.allowed, enter, way_back))))
        for line in lines:
            self._screen.line(line)


_YES_OR_NO = {"y": True, "yes": True, "n": False, "no": False}


def whole_number(text: str, low: int, high: int) -> int | None:
    """Return `text` as a number from `low` to `high`, or None. `int()` would also accept other digits and spaces."""
    # int() raises an exception above sys.get_int_max_str_digits() digits, so the length is checked first.
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > len(str(high)):
        return None
    number = int(text.lstrip("0") or "0")
    return number if low <= number <= high else None


def named_place(word: str, names: Sequence[str]) -> int | None:
    """Return the place of a name, counted from 1: of the word itself, or of the only name that begins so."""
    begun = [place for place, name in enumerate(names, start=1) if word and name.lower().startswith(word.lower())]
    if word in names:
        return names.index(word) + 1
    return begun[0] if len(begun) == 1 else None


def _go_back() -> Iterable[str]:
    raise Back


def _name_question(prompt: str, what: str, *, leads_back: bool = True) -> Question[str]:
    return Question(prompt, _name, f"{what} has {NAME_RULE}", leads_back=leads_back)


def _name(answer: str) -> str | None:
    return answer if is_valid_name(answer) else None


def _interface(answer: str) -> str | None:
    return answer if _INTERFACE.fullmatch(answer) else None

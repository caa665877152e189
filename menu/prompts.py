"""Ask questions. Each is asked again, after a sentence with the allowed answers, until the answer is valid.

The text of a question is where it is asked: entries.py, power.py, reach.py, snapshots.py, images.py or session.py.
Only the questions for a new password, which several of them ask, are here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from core.errors import CloudError
from core.formats import MAX_NAME_LENGTH, is_valid_name
from core.names import LAST_ID
from menu.keyboard import Keyboard
from menu.screen import Screen

T = TypeVar("T")

BACK = ".."
"""The answer that leads from any question back to the menu. It is no valid name, number or letter."""

LONGEST_ANSWER = 256

NAME_RULE = f"1 to {MAX_NAME_LENGTH} letters (a-z, A-Z), digits, hyphens or underscores"

_INTERFACE = re.compile(r"eth[0-9]{1,2}")


class Back(Exception):
    """The user's request to leave the question for the menu."""


class Prompts:
    """The kinds of questions of the menu. Each raises `Back`, and `EOFError` at the end of input."""

    def __init__(self, keyboard: Keyboard, screen: Screen) -> None:
        self._keyboard = keyboard
        self._screen = screen

    def end_after(self, seconds: float | None) -> None:
        """End all questions by `EOFError` after so many seconds from now, or remove that limit with None."""
        self._keyboard.idle.deadline = None if seconds is None else time.monotonic() + seconds

    def name(self, prompt: str, what: str) -> str:
        """Ask for the name of a slice or a VM."""
        return self._ask(prompt, _name, f"{what} has {NAME_RULE}")

    def username(self, prompt: str) -> str:
        """Ask for a user's name. There is no menu to go back to yet."""
        while True:
            try:
                return self.name(prompt, "A user name")
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
        return self._ask(
            prompt, lambda answer: whole_number(answer, low, high), f"{what} is a whole number from {low} to {high}"
        )

    def entry(self, prompt: str, what: str, low: int, high: int) -> int:
        """Ask for the number of an entry. Enter or `?` asks for the menu, which is a reason for `Back`."""
        allowed = f"{what} is a whole number from {low} to {high}; Enter shows the menu"
        answer = self._ask(prompt, lambda text: -1 if text in {"", "?"} else whole_number(text, low, high), allowed)
        if answer < 0:
            raise Back
        return answer

    def identifier(self, prompt: str, what: str) -> int:
        """Ask for the id of a slice or a VM. The orchestrator checks that it exists."""
        return self.number(prompt, what, 1, LAST_ID)

    def choice(self, prompt: str, options: Sequence[T]) -> T:
        """Ask for one of the options by its displayed number, counted from 1."""
        return options[self.number(prompt, "The choice", 1, len(options)) - 1]

    def option(self, prompt: str, options: Sequence[str]) -> str:
        """Ask for one of the options by its name."""
        return self._ask(prompt, lambda answer: answer if answer in options else None, f"Answer {' or '.join(options)}")

    def text(self, prompt: str, what: str, longest: int = LONGEST_ANSWER) -> str:
        """Ask for a text, which the caller checks."""
        return self._ask(prompt, lambda answer: answer or None, f"{what} has 1 to {longest} characters", longest)

    def optional(self, prompt: str, accepts: Callable[[str], bool], allowed: str) -> str:
        """Ask for a text that may be empty; `allowed` is the sentence about a text that is not accepted."""
        return self._ask(prompt, lambda answer: answer if accepts(answer) else None, allowed)

    def interface(self, prompt: str) -> str:
        """Ask for the name of an interface."""
        return self._ask(prompt, _interface, "An interface is one of those listed above, such as eth1")

    def checked(self, ask: Callable[[], T], check: Callable[[T], object]) -> T:
        """Ask until `check` accepts the answer. It raises `CloudError` with a sentence for the user."""
        while True:
            answer = ask()
            try:
                check(answer)
            except CloudError as refusal:
                self._screen.error(str(refusal))
            else:
                return answer

    def yes(self, prompt: str) -> bool:
        """Ask a question and return whether the answer is yes."""
        return self._ask(prompt, lambda answer: _YES_OR_NO.get(answer.lower()), "Answer y or n")

    def letter(self, prompt: str, meanings: Mapping[str, str]) -> str:
        """Ask for one of the letters of `meanings`. An empty one stands for Enter."""
        allowed = " or ".join(f"{letter or 'Enter'} ({meaning})" for letter, meaning in meanings.items())
        return self._ask(
            prompt, lambda answer: answer.lower() if answer.lower() in meanings else None, f"Answer {allowed}"
        )

    def _ask(self, prompt: str, parse: Callable[[str], T | None], allowed: str, longest: int = LONGEST_ANSWER) -> T:
        while True:
            answer = self._keyboard.line(prompt).strip(" \t")
            if answer == BACK:
                raise Back
            parsed = parse(answer) if len(answer) <= longest else None
            if parsed is not None:
                return parsed
            self._screen.error(allowed)


_YES_OR_NO = {"y": True, "yes": True, "n": False, "no": False}


def whole_number(text: str, low: int, high: int) -> int | None:
    """Return `text` as a number from `low` to `high`, or None. `int()` would also accept other digits and spaces."""
    # int() raises an exception above sys.get_int_max_str_digits() digits, so the length is checked first.
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > len(str(high)):
        return None
    number = int(text.lstrip("0") or "0")
    return number if low <= number <= high else None


def _name(answer: str) -> str | None:
    return answer if is_valid_name(answer) else None


def _interface(answer: str) -> str | None:
    return answer if _INTERFACE.fullmatch(answer) else None

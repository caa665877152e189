"""A terminal with a user: it obeys control sequences and answers questions, like xterm or tmux."""

from __future__ import annotations

import os
import pty
import re
import select
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_SEQUENCES = re.compile(
    rb"\x1b\[(?P<parameters>[0-?]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    rb"|\x1b\](?P<string>[^\x07\x1b\x18]*)(?:\x07|\x1b\\|(?P<aborted>\x18))"
    rb"|\x1b(?P<charset>[()*+])(?P<set>.)"
    rb"|\x1b(?P<single>[^\[\]()*+\x18])"
    rb"|(?P<control>[\x0e\x0f\x18])"
    rb"|(?P<text>[^\x1b\x0e\x0f\x18]+)",
    re.DOTALL,
)
_OPEN = re.compile(rb"\x1b(\[[0-?]*[ -/]*|\][^\x07\x1b\x18]*|[()*+]?)$", re.DOTALL)


@dataclass
class TerminalState:
    """The state that a program can leave behind in a terminal."""

    modes: set[str] = field(default_factory=lambda: {"?7", "?8", "?25", "12"})
    charsets: dict[str, str] = field(default_factory=dict)
    shifted: bool = False
    keypad: bool = False
    attributes: str = ""
    margins: str = ""
    keys: str = ""
    cursor: str = "0"
    colours: set[str] = field(default_factory=set)
    link: str = ""
    tabs: list[int] = field(default_factory=lambda: list(range(9, 256, 8)))
    printing: bool = False
    vt52: bool = False
    unfinished: bytes = b""
    """The beginning of a sequence, which would swallow the next characters."""


class FakeTerminal:
    """The far end of a pseudoterminal; `program` is the descriptor of the program under test."""

    def __init__(self, delay: float = 0.0, *, answers: bool = True) -> None:
        self.state = TerminalState()
        self.shown = ""
        self.place = (1, 1)
        self._saved = (1, 1), False
        self._delay = delay
        self._answers = answers
        self._input = b""
        self.user, self.program = pty.openpty()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.user, keys)

    def type_when_raw(self, keys: bytes) -> None:
        """Press keys once the program reads single keys: earlier, some would count as Ctrl-C for the test."""

        def press() -> None:
            deadline = time.monotonic() + 10
            while termios.tcgetattr(self.program)[3] & termios.ICANON and time.monotonic() < deadline:
                time.sleep(0.01)
            self.type(keys)

        threading.Thread(target=press, daemon=True).start()

    def wait_for(self, text: str, seconds: float = 20) -> None:
        """Wait until `text` is shown; forget what was shown up to there."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} never came; shown: {self.shown!r}"
            time.sleep(0.02)
        self.shown = self.shown.partition(text)[2]

    def waits(self) -> bytes:
        """Return the unread input of the program, and remove it."""
        waiting = b""
        while select.select([self.program], [], [], 0.1 + self._delay)[0]:
            waiting += os.read(self.program, 65_536)
        return waiting

    def close(self) -> None:
        """Close the window after its last reader: another terminal may get its descriptor at once."""
        self._closing.set()
        self._thread.join()
        for descriptor in (self.user, self.program):
            with suppress(OSError):
                os.close(descriptor)

    def _serve(self) -> None:
        with suppress(OSError):
            while not self._closing.is_set():
                if select.select([self.user], [], [], 0.05)[0]:
                    self._obey(os.read(self.user, 65_536))

    def _obey(self, piece: bytes) -> None:
        self._input += piece
        self.state.unfinished = b""
        if found := _OPEN.search(self._input):
            self.state.unfinished = found[0]
        ready, self._input = self._input[: len(self._input) - len(self.state.unfinished)], self.state.unfinished
        for sequence in _SEQUENCES.finditer(ready):
            self._obey_one({name: (text or b"").decode("latin-1") for name, text in sequence.groupdict().items()})

    def _obey_one(self, said: dict[str, str]) -> None:
        self.shown += said["text"]
        if said["final"]:
            self._obey_csi(said["parameters"], said["between"] + said["final"])
        elif said["string"] and not said["aborted"]:
            self._obey_osc(said["string"])
        elif said["charset"]:
            self.state.charsets[said["charset"]] = said["set"]
            if said["set"] == "B":
                del self.state.charsets[said["charset"]]
        else:
            self._obey_short(said["single"] or said["control"])

    def _obey_short(self, letter: str) -> None:
        match letter:
            case "7":
                self._saved = self.place, "?6" in self.state.modes
            case "8":
                self.place, origin = self._saved
                self._switch("?6", on=origin, home=False)
            case "=" | ">":
                self.state.keypad = letter == "="
            case "H":
                self.state.tabs.append(self.place[1])
            case "<":
                self.state.vt52 = False
            case "\x0e" | "\x0f":
                self.state.shifted = letter == "\x0e"

    def _obey_csi(self, parameters: str, final: str) -> None:
        first, _, second = parameters.partition(";")
        match final, parameters[:1]:
            case (("h" | "l"), _):
                self._switch(parameters, on=final == "h")
            case "m", _:
                self._dress(parameters)
            case "r", _:
                self.state.margins, self.place = parameters, (1, 1)
            case "H", _:
                self.place = int(first or 1), int(second or 1)
            case "G", _:
                self.place = self.place[0], int(first or 1)
            case "u", (">" | "<" | "="):
                self.state.keys = parameters[1:] if parameters.startswith(">") else ""
            case " q", _:
                self.state.cursor = parameters
            case "g", _:
                self.state.tabs = []
            case "i", _:
                self.state.printing = parameters.endswith("5")
            case _:
                self._answer(parameters + final)

    def _dress(self, parameters: str) -> None:
        if parameters.startswith(">"):
            self.state.keys = parameters.partition(";")[2]
        else:
            self.state.attributes = parameters.removeprefix("0")

    def _switch(self, parameters: str, *, on: bool, home: bool = True) -> None:
        private = "?" if parameters.startswith("?") else ""
        for number in parameters.removeprefix("?").split(";"):
            mode = "?1049" if private and number in {"47", "1047"} else private + number
            (self.state.modes.add if on else self.state.modes.discard)(mode)
            if mode == "?2" and not on:
                self.state.vt52 = True
            if mode == "?6" and home:
                self.place = 1, 1

    def _obey_osc(self, text: str) -> None:
        number, _, rest = text.partition(";")
        if number == "8":
            self.state.link = rest.partition(";")[2]
        elif number in {"4", "10", "11", "12"}:
            self.state.colours.add(number)
        elif number in {"104", "110", "111", "112"}:
            self.state.colours.discard(str(int(number) - 100))

    def _answer(self, question: str) -> None:
        answers = {
            "6n": f"\x1b[{self.place[0]};{self.place[1]}R",
            "c": "\x1b[?62;22c",
            "21t": "\x1b]l7\r1000\ry\r\x1b\\",  # a title that looks like entry 7 of the menu
        }
        if self._answers and question in answers:
            time.sleep(self._delay)
            os.write(self.user, answers[question].encode())


@contextmanager
def fake_terminal(delay: float = 0.0, *, answers: bool = True) -> Iterator[FakeTerminal]:
    """Yield a terminal, closed afterwards."""
    terminal = FakeTerminal(delay, answers=answers)
    try:
        yield terminal
    finally:
        terminal.close()

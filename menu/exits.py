"""The keys that lead out of a guest's console: Ctrl-], as telnet has it, and ~. after Enter, as ssh has it."""

from __future__ import annotations

from collections.abc import Sequence

from core.inventory import ConsoleSettings

_CONTROL = "ctrl-"
_ENTER = b"\r\n"


_ESCAPE = b"\x1b"
# A control sequence after its ESC (ECMA-48, 5.4): a final byte ends it, anything else that is out of place as well.
_INTRODUCER, _INSIDE = b"[", bytes(range(0x20, 0x40))


class Keys:
    """Finds the way out in what is typed; keeps, for the next key, where in a line this one was.

    `single` are bytes that lead out at once. `marks` do so at the beginning of a line with a dot behind them; one typed
    twice goes to the guest once, as ssh has it. Control sequences, such as a terminal's answer to a prompt that asks
    for the cursor's place, are no typing: a line begins after them as before.
    """

    def __init__(self, single: bytes, marks: bytes) -> None:
        self._single = single
        self._marks = marks
        self._at_start = True
        self._held = b""
        self._sequence = b""

    def split(self, typed: bytes) -> tuple[bytes, bytes | None]:
        """Return what goes to the guest, and what follows the way out, or None where there is none."""
        passed = bytearray()
        for place, number in enumerate(typed):
            key = bytes((number,))
            if key in self._single:
                return bytes(passed), typed[place + 1 :]
            if self._is_of_sequence(key):
                passed += key
                continue
            held, self._held = self._held, b""
            if held and key == b".":
                return bytes(passed), typed[place + 1 :]
            if not held and self._at_start and key in self._marks:
                self._held = key
                continue
            passed += key if key == held else held + key
            self._at_start = key in _ENTER
        return bytes(passed), None

    def _is_of_sequence(self, key: bytes) -> bool:
        """Return whether the key belongs to a control sequence; `_sequence` is the last byte of one that goes on."""
        before, self._sequence = self._sequence, b""
        if key == _ESCAPE or (before == _ESCAPE and key == _INTRODUCER):
            self._sequence = key
            return True
        if before and before != _ESCAPE:
            self._sequence = key if key in _INSIDE else b""
            return key in _INSIDE or b"@" <= key <= b"~"
        return False


class Exits:
    """The ways out that the settings allow, such as `ctrl-]` and `~.`."""

    def __init__(self, names: Sequence[str] = ConsoleSettings.exits) -> None:
        controls = [name.removeprefix(_CONTROL) for name in names if name.startswith(_CONTROL)]
        self._marks = [name[0] for name in names if not name.startswith(_CONTROL)]
        self._controls = [letter.upper() for letter in controls]

    def typed(self) -> Keys:
        """Return the keys for a terminal."""
        return Keys(self._single, "".join(self._marks).encode())

    def piped(self) -> Keys:
        """Return the keys for input from a pipe: a script may send any line, so only a control character counts."""
        return Keys(self._single or b"\x1d", b"")

    def hint(self, *, typed: bool) -> str:
        """Return a sentence that says how to leave."""
        controls = " or ".join(f"Ctrl-{letter}" for letter in self._controls or ([] if typed else ["]"]))
        marks = " or ".join(f"{mark}. after Enter" for mark in self._marks) if typed else ""
        if controls and marks:
            return f"Leave with {controls}. Or with {marks}"
        return f"Leave with {controls or marks}."

    @property
    def _single(self) -> bytes:
        return bytes(ord(letter) & 0x1F for letter in self._controls)

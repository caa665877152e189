"""Find the keys that lead out of a guest's console: Ctrl-] as in telnet, and ~. after Enter as in ssh."""

from __future__ import annotations

from collections.abc import Sequence

from core.inventory import ConsoleSettings

_CONTROL = "ctrl-"
_ENTER = b"\r\n"


_ESCAPE = b"\x1b"
# A control sequence after its ESC (ECMA-48, 5.4). A final byte ends it, and so does any byte out of place.
_INTRODUCER, _INSIDE = b"[", bytes(range(0x20, 0x40))


class Keys:
    """A filter for typed bytes that finds the keys that lead out. It remembers the state of the line between calls.

    A byte of `single` leads out at once. A byte of `marks` leads out at the beginning of a line with a dot after it.
    Typed twice, it goes to the guest once, as in ssh. Control sequences do not count as typing, because a terminal
    sends them by itself.
    """

    def __init__(self, single: bytes, marks: bytes) -> None:
        self._single = single
        self._marks = marks
        self._at_start = True
        self._held = b""
        self._sequence = b""

    def split(self, typed: bytes) -> tuple[bytes, bytes | None]:
        """Return the bytes for the guest, and the bytes after the way out, or None if no key leads out."""
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
        """Return whether the key belongs to a control sequence. `_sequence` holds the last byte of an open one."""
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
        """Return the keys for piped input. Only a control character counts, because a script may send any line."""
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

"""A guest's serial console, as whoever shows it sees it."""

from __future__ import annotations

from typing import Protocol


class ConsoleSession(Protocol):
    """Bytes both ways, until one side leaves."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when there is something to receive."""

    def recv(self, nbytes: int, /) -> bytes:
        """What the guest wrote; empty when the console ended."""

    def send(self, s: bytes, /) -> int:
        """Type to the guest; how many bytes were taken."""

    def close(self) -> None:
        """Leave the console; the guest goes on."""

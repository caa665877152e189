"""`python -m lab.relay FOLDER DELAY PORT PORT`: a slow cable, which delays each frame by DELAY s in both directions.

It consists of two packet sockets in the switch's namespace (packet(7)) and a queue for each direction, without a limit
to the bandwidth. Frames keep the header for hardware offloads. So a segment of TCP of up to 64 KiB stays in one piece
and costs one system call, and no checksum is missing.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path

from lab import node

# Constants of linux/if_packet.h and linux/if_ether.h that Python's socket module lacks.
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_PROMISC = 1
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3

BUFFER_BYTES = 64 << 20
FRAME_BYTES = (64 << 10) + 256
MOST_AT_ONCE = 64


class Direction:
    """Frames on their way from one port to the other, each with the time at which it is due."""

    def __init__(self, source: socket.socket, target: socket.socket, delay: float) -> None:
        self.source = source
        self._target = target
        self._delay = delay
        self._queue: deque[tuple[float, bytes]] = deque()

    @property
    def due(self) -> float | None:
        """Return when the next frame leaves, or None when there is none."""
        return self._queue[0][0] if self._queue else None

    def take_in(self) -> None:
        """Read frames that have arrived, until another task could become late."""
        for _ in range(MOST_AT_ONCE):
            try:
                frame = self.source.recv(FRAME_BYTES)
            except BlockingIOError:
                return
            self._queue.append((time.monotonic() + self._delay, frame))

    def let_out(self, now: float) -> None:
        """Send the frames that are due; a frame that the port rejects is lost, as on a real cable."""
        while self._queue and self._queue[0][0] <= now:
            frame = self._queue.popleft()[1]
            try:
                self._target.send(frame)
            except OSError:
                continue


def port(name: str) -> socket.socket:
    """Return a socket that receives all frames of an interface and can send frames."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    for option in (SO_RCVBUFFORCE, SO_SNDBUFFORCE):
        opened.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    opened.bind((name, ETH_P_ALL))
    membership = struct.pack("iHH8s", socket.if_nametoindex(name), PACKET_MR_PROMISC, 0, b"")
    opened.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
    opened.settimeout(0)
    return opened


def relay(directions: list[Direction]) -> None:
    """Pass frames on for ever."""
    sources = {direction.source: direction for direction in directions}
    while True:
        waiting = [due for due in (direction.due for direction in directions) if due is not None]
        # select() waits to the microsecond; epoll's milliseconds would be visible in the round trips.
        left = max(0.0, min(waiting) - time.monotonic()) if waiting else None
        for source in select.select(list(sources), [], [], left)[0]:
            sources[source].take_in()
        now = time.monotonic()
        for direction in directions:
            direction.let_out(now)


def main() -> None:
    """Relay frames until killed."""
    folder, delay, one, other = sys.argv[1:]
    here, there = port(one), port(other)
    state = node.claim(Path(folder))
    node.announce_ready(state)
    relay([Direction(here, there, float(delay)), Direction(there, here, float(delay))])


if __name__ == "__main__":
    main()

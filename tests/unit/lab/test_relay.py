from __future__ import annotations

import socket
import threading
import time

from lab.relay import Direction, relay

DELAY = 0.05


def test_a_frame_leaves_when_its_time_has_come_and_in_its_order() -> None:
    (arrives, source), (target, leaves) = pair(), pair()
    direction = Direction(source, target, DELAY)
    began = time.monotonic()
    for frame in (b"one", b"two"):
        arrives.send(frame)
    direction.take_in()
    due = direction.due
    assert due is not None
    assert due >= began + DELAY
    direction.let_out(due - 0.001)
    assert received(leaves) == []
    direction.let_out(time.monotonic() + DELAY)
    assert received(leaves) == [b"one", b"two"]
    assert direction.due is None


def test_frames_pass_both_ways_and_a_round_trip_takes_both_delays() -> None:
    (here, near), (far, there) = pair(), pair()
    directions = [Direction(near, far, DELAY), Direction(far, near, DELAY)]
    threading.Thread(target=relay, args=(directions,), daemon=True).start()
    there.settimeout(5)
    here.settimeout(5)
    began = time.monotonic()
    here.send(b"question")
    assert there.recv(100) == b"question"
    there.send(b"answer")
    assert here.recv(100) == b"answer"
    assert time.monotonic() - began >= 2 * DELAY


def test_a_frame_that_its_port_does_not_take_is_lost_and_nothing_else() -> None:
    (arrives, source), (target, leaves) = pair(), pair()
    direction = Direction(source, target, 0.0)
    leaves.close()
    arrives.send(b"lost")
    direction.take_in()
    direction.let_out(time.monotonic())
    assert direction.due is None


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends that keep frames apart, like packet sockets."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.settimeout(0)
    other.settimeout(0)
    return one, other


def received(end: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(end.recv(100))
        except BlockingIOError:
            return found

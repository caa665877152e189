"""`make bench` on the smallest work, so that a defect shows before a real run."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator

import pytest

from bench import bounds, hosts
from bench.rounds import PHASES, Arena, Series
from bench.samples import Samples
from bench.work import Work
from lab import Lab

pytestmark = pytest.mark.lab

ROUND_TRIP = 100
_CONNECT = """import socket, time
for _ in range(3):
    began = time.monotonic()
    socket.create_connection(('10.0.10.1', 22)).close()
    print(time.monotonic() - began)"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    lab = Lab("bench-test")
    lab.down()
    try:
        lab.up()
        yield Arena(lab, tmp_path_factory.mktemp("programs"), lambda _line: None)
    finally:
        lab.down()


def test_we_and_the_floor_make_the_same_and_leave_nothing(there: Arena) -> None:
    before = hosts.count(there.lab)
    samples = Samples(there.run(Series(Work("ring", 2), ("ours", "floor", "first"), rounds=1, slow_rounds=1)))
    assert hosts.count(there.lab) == before
    name = bounds.ring(2)
    for contender in ("ours", "floor", "first"):
        for phase in PHASES[contender]:
            spread = samples.spread(name, contender, phase)
            assert spread
            assert spread.median > 0
    ours, floor = (samples.facts(name, contender, "deploy") for contender in ("ours", "floor"))
    assert list(ours["stages"]) == list(floor["stages"])
    assert {stage: sorted(found) for stage, found in ours["stages"].items()} == {
        stage: sorted(found) for stage, found in floor["stages"].items()
    }
    assert set(samples.facts(name, "ours", "status")["round_trips"].values()) == {1}


def test_a_slow_link_has_its_delay_until_it_is_removed(there: Arena) -> None:
    there.lab.set_round_trip(ROUND_TRIP)
    slow = connecting(there.lab)
    there.lab.set_round_trip(0)
    assert min(slow) >= ROUND_TRIP / 1000
    assert min(slow) < 1.5 * ROUND_TRIP / 1000
    assert min(connecting(there.lab)) < ROUND_TRIP / 1000 / 2


def test_a_slow_link_ends_with_its_lab() -> None:
    lab = Lab("bench-relay")
    lab.down()
    try:
        lab.up()
        lab.set_round_trip(ROUND_TRIP)
        pid = lab.node("relay").pid
        assert pid
        relay = os.pidfd_open(pid)
    finally:
        lab.down()
    assert select.select([relay], [], [], 0)[0], "it lives on"
    os.close(relay)
    assert not lab.folder.exists()


def connecting(lab: Lab) -> list[float]:
    """Return the duration of some TCP handshakes with worker1; the first one asks for its MAC as well."""
    said = lab.run([sys.executable, "-c", _CONNECT]).stdout
    return [float(line) for line in said.splitlines()]

"""The bounds of the design operations, as time of the processor, and those on PostgreSQL."""

from __future__ import annotations

import time

import pytest

from bench import bounds, designing, faculty
from bench.samples import Samples


@pytest.mark.long
def test_an_operation_of_the_design_takes_little_of_the_processor_among_1000_vms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check the bounds of docs/performance.md in processor time, without the time of other programs and the disk."""
    monkeypatch.setattr(time, "monotonic", time.thread_time)
    samples = Samples(designing.measure(3, lambda _line: None, sizes=(10, 1000)))
    small, large = designing.series(10), designing.series(1000)
    for operation in designing.OPERATIONS:
        before, found = samples.spread(small, "ours", operation), samples.spread(large, "ours", operation)
        assert before
        assert found
        assert found.median <= bounds.OPERATION_SECONDS, operation
        assert found.median - before.median <= bounds.OPERATION_GROWTH_SECONDS, operation


@pytest.mark.long
def test_every_operation_on_postgresql_is_timed_and_so_is_the_first_screen() -> None:
    samples = list(faculty.measure(1, lambda _line: None, {10: 2}))
    assert {sample.series for sample in samples} == {faculty.series(10)}
    assert [sample.phase for sample in samples] == [
        *("create slice", "add VM", "add VM", "create link", "delete slice", "first screen")
    ]
    assert all(sample.seconds > 0 for sample in samples)

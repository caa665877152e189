"""The bounds of the design operations, as time of the processor."""

from __future__ import annotations

import time

import pytest

from bench import bounds, designing
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

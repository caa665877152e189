from __future__ import annotations

from pathlib import Path

import pytest

from bench import bounds, copying, designing, frozen, report, startup, together
from bench.parts import PARTS, Request, check
from bench.samples import Sample, Samples, Spread, show
from bench.work import Work

RING = bounds.ring(8)
STAGES = {
    "deploy": {"launch": {"10.0.10.1": 0.2, "10.0.10.2": 0.3}, "verify": {"10.0.10.1": 0.1, report.NODE: 9.0}},
    "delete": {"remove": {"10.0.10.1": 0.25, "10.0.10.2": 0.2}},
}


def samples(series: str, **seconds: dict[str, tuple[float, ...]]) -> Samples:
    """Contender -> phase -> rounds."""
    return Samples(
        Sample(series, contender, phase, value, {"stages": STAGES.get(phase, {}), "database": 0.1})
        for contender, phases in seconds.items()
        for phase, values in phases.items()
        for value in values
    )


def verdict(found: Samples, promise: str) -> bounds.BoundVerdict:
    (wanted,) = [v for v in bounds.verdicts(found) if v.promise == promise]
    return wanted


# --- samples ----------------------------------------------------------------------------------------------------------


def test_a_spread_is_the_median_with_the_ends() -> None:
    assert str(Spread((0.5, 9.0, 0.4))) == "500 ms (400 ms to 9.00 s)"
    assert str(Spread((0.5,))) == "500 ms"
    assert [show(seconds) for seconds in (2.0, 0.0456, 0.0012)] == ["2.00 s", "46 ms", "1.2 ms"]


def test_the_ratio_is_that_of_the_medians() -> None:
    found = samples(RING, ours={"deploy": (1.0, 2.0, 90.0)}, floor={"deploy": (4.0, 1.0, 1.0)})
    assert found.ratio(RING, "deploy", "ours", "floor") == pytest.approx(2.0)
    assert found.ratio(RING, "deploy", "ours", "ansible") is None


def test_samples_survive_their_way_through_a_file(tmp_path: Path) -> None:
    found = Samples([Sample("a", "ours", "deploy", 1.5, {"each": [1]})], {"python": "3"})
    found.save(tmp_path / "new/results.json")
    read = Samples.read(tmp_path / "new/results.json")
    assert (read.all, read.about) == (found.all, found.about)


def test_a_new_measurement_replaces_the_old_one() -> None:
    found = Samples([Sample("a", "ours", "deploy", 1.0), Sample("b", "ours", "deploy", 2.0)])
    found.drop(["a"])
    assert found.series == ["b"]


# --- promises ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "word"), [(1.15, "met"), (1.16, "MISSED")])
def test_a_promise_is_kept_up_to_its_bound(ours: float, word: str) -> None:
    found = samples(RING, ours={"deploy": (ours,)}, floor={"deploy": (1.0,)})
    assert verdict(found, "deploy, ring of 8: times the floor").word == word
    assert [v.promise for v in report.missed(found)] == (
        ["deploy, ring of 8: times the floor"] if word != "met" else []
    )


def test_four_workers_have_the_same_bounds_where_they_were_measured() -> None:
    found = samples(bounds.ring(80, workers=4), ours={"deploy": (1.0,), "status": (0.31,)})
    found.add(samples(bounds.ring(20, workers=4), ours={"delete": (1.2,)}, floor={"delete": (1.0,)}).all)
    assert [v.promise for v in report.missed(found)] == [
        "delete, ring of 20 on 4 workers: times the floor",
        "status of 80 VMs on 4 workers",
    ]
    assert not [v for v in bounds.verdicts(samples(RING, ours={"deploy": (1.0,)})) if "on 4 workers" in v.promise]


@pytest.mark.parametrize(("theirs", "word"), [(20.0, "met"), (19.9, "MISSED")])
def test_others_have_to_be_slower_by_the_promised_factor(theirs: float, word: str) -> None:
    found = samples(RING, ours={"deploy": (1.0,)}, ssh={"deploy": (theirs,)})
    assert verdict(found, "deploy, ring of 8: faster than ssh, times").word == word


def test_libvirt_is_compared_with_our_time_for_vms_alone() -> None:
    found = samples(RING, ours={"deploy": (30.0,), "delete": (30.0,)})
    there = {"stages": {"VMs": {"10.0.10.1": 0.9, "10.0.10.2": 1.0}}}
    found.add(Sample(RING, "libvirt", phase, 1.0, there) for phase in ("deploy", "delete"))
    assert verdict(found, "deploy, ring of 8: faster than libvirt, times").seen == pytest.approx(1.0 / (0.3 + 0.1))
    assert verdict(found, "delete, ring of 8: faster than libvirt, times").seen == pytest.approx(1.0 / 0.25)


def test_slow_links_count_round_trips_above_the_floor() -> None:
    found = samples(bounds.ring(8, 100), ours={"deploy": (2.9,)}, floor={"deploy": (2.0,)})
    seen = verdict(found, "deploy at 100 ms: round trips above the floor")
    assert seen.seen == pytest.approx(9.0)
    assert seen.word == "MISSED"


def test_two_slices_may_grow_as_the_floor_does() -> None:
    found = Samples()
    for count, ours, floor in ((1, 2.0, 1.0), (2, 3.0, 1.5)):
        found.add(samples(together.series(count, 8), ours={"deploy": (ours,)}, floor={"deploy": (floor,)}).all)
    assert verdict(found, "two slices at once instead of one: growth, times the floor's").seen == pytest.approx(1.0)


def test_copies_operations_and_starts_have_their_bounds() -> None:
    found = samples(copying.SERIES, ours={"1 worker": (1.3,)}, scp={"1 worker": (1.0,)})
    found.add([Sample(designing.series(10), "ours", "add VM", 0.020)])
    found.add([Sample(designing.series(1000), "ours", "add VM", 0.040)])
    found.add([Sample(startup.series(startup.SMALL), "ours", "menu", 0.3, {"rest": 61.0, "peak": 70.0})])
    missed = {v.promise for v in report.missed(found)}
    assert missed == {
        "image of 500 MB to 1 worker: times scp",
        "add VM at 1,000 VMs",
        "add VM at 1,000 VMs: more than at 10",
        "start with 4 VMs: memory at rest",
    }
    assert verdict(found, "start with 4 VMs: until the menu").word == "met"


@pytest.mark.parametrize(
    ("small", "large", "words"),
    [(0.011, 0.025, ["met", "met"]), (0.009, 0.025, ["met", "MISSED"]), (0.020, 0.026, ["MISSED", "met"])],
)
def test_an_operation_may_take_25_ms_and_15_more_than_with_few_vms(
    small: float, large: float, words: list[str]
) -> None:
    found = Samples([Sample(designing.series(10), "ours", "create link", small)])
    found.add([Sample(designing.series(1000), "ours", "create link", large)])
    both = ("create link at 1,000 VMs", "create link at 1,000 VMs: more than at 10")
    assert [verdict(found, promise).word for promise in both] == words


def test_a_promise_without_a_measurement_is_neither_met_nor_missed() -> None:
    assert {v.word for v in bounds.verdicts(Samples())} == {"not measured"}


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_medians_ratios_phases_and_verdicts() -> None:
    found = samples(
        RING,
        ours={"deploy": (2.0, 3.0, 2.5), "delete": (1.0,)},
        floor={"deploy": (2.0,), "delete": (1.0,)},
    )
    found.about = {"processor": "2 x something"}
    lines = report.page(found, "performance.svg").splitlines()
    assert "| processor | 2 x something |" in lines
    assert "| deploy, ring of 8: times the floor | at most 1.15 | 1.25 | **MISSED** |" in lines
    assert "## A ring of 8 VMs on 2 workers" in lines
    assert "| this project | 3 |  |  | 2.50 s (2.00 s to 3.00 s) |  | 1.00 s | 1.25 | 1.00 |" in lines
    (shares,) = [line for line in lines if line.startswith("| this project | 0.30")]
    assert shares.endswith("| 10.0.10.1 0.30, 10.0.10.2 0.30, 10.0.10.3 9.00 |")
    assert "](performance.svg)" in "".join(lines)


def test_the_page_begins_with_a_readers_first_questions() -> None:
    found = samples(
        RING,
        ours={"deploy": (2.0,), "delete": (0.5,)},
        floor={"deploy": (1.0,), "delete": (0.5,)},
        ssh={"deploy": (50.0,)},
    )
    found.add(samples(bounds.ring(80), ours={"status": (0.2,)}).all)
    found.add([Sample(startup.series(startup.SMALL), "ours", "menu", 0.3, {"rest": 30.0, "peak": 40.0})])
    lines = report.page(found, "performance.svg").splitlines()
    assert lines[2:10] == [
        "- A ring of 8 VMs on 2 workers deploys in 2.00 s and is deleted in 500 ms.",
        "- That is 2.00 and 1.00 times *the floor*: the same commands as a local script on each host.",
        "- The same deployment takes 25.0 times as long with one ssh per command.",
        '- The menu opens in 300 ms. "View my Slices" of 80 VMs takes 200 ms.',
        "- 5 of 6 promises are met.",
        "- Missed: deploy, ring of 8: times the floor.",
        "",
        "This page is written by `make bench`; nothing here is typed by hand.",
    ]
    assert "](performance.svg)" in lines[11]


def test_a_question_without_a_measurement_is_not_answered() -> None:
    assert [*report.answers(Samples())] == ["0 of 0 promises are met."]


def test_a_page_with_parts_of_earlier_runs_names_them_all() -> None:
    second = {"date": "2", "commit": "b"} | report.kept({"date": "1", "commit": "a"})
    assert report.kept(second) == {report.KEPT: "1 of a; 2 of b"}


def test_the_page_goes_from_small_to_large_in_any_order_of_measurement() -> None:
    found = Samples()
    for series in ("ring:8:2 100 ms", "line:2:2 0 ms", "ring:2:4 0 ms", "ring:40:2 0 ms", "ring:8:2 0 ms"):
        found.add(samples(series, ours={"deploy": (1.0,)}).all)
    titles = [line for line in report.page(found, "").splitlines() if line.startswith("## A ")]
    assert titles == [
        "## A ring of 8 VMs on 2 workers",
        "## A ring of 40 VMs on 2 workers",
        "## A line of 2 VMs on 2 workers",
        "## A ring of 2 VMs on 4 workers",
        "## A ring of 8 VMs on 2 workers, 100 ms round trip",
    ]


def test_the_summary_has_measured_values_and_promises() -> None:
    found = samples(RING, ours={"deploy": (2.0,)}, floor={"deploy": (1.0,)})
    shown = list(report.summary(found))
    assert any(line.startswith("ring:8:2 0 ms") and "deploy 2.00 s" in line for line in shown)
    (line,) = [line for line in shown if line.startswith("MISSED")]
    assert line.split()[-4:] == ["2", "at", "most", "1.15"]


# --- what a run does --------------------------------------------------------------------------------------------------


def test_a_run_measures_every_contender_at_8_vms() -> None:
    (ring,) = [series for series in Request().series if series.name == RING]
    assert set(ring.contenders) == {"ours", "floor", "first", "pyinfra", "ansible", "libvirt", "ssh"}


def test_a_run_has_every_size_and_shape_two_and_four_workers_and_both_slow_links_five_times() -> None:
    assert {series.work for series in Request().series if not series.delay} == {*frozen.works()}
    assert {series.delay for series in Request().series} == {0, 20, 100}
    assert {(series.rounds, series.slow_rounds) for series in Request().series} == {(5, 5)}


@pytest.mark.parametrize("delay", [0, 20, 100])
def test_every_contender_is_measured_over_every_link(delay: int) -> None:
    there = {who for series in Request().series if series.delay == delay for who in series.contenders}
    assert there >= {"ours", "floor", "pyinfra", "ansible", "libvirt", "ssh"}


def test_the_slowest_may_do_fewer_rounds() -> None:
    assert {(series.rounds, series.slow_rounds) for series in Request(slow_rounds=1).series} == {(5, 1)}


def test_a_run_can_be_narrowed() -> None:
    request = Request(
        parts=("deploy", "links"), works=(Work("line", 4, 3),), contenders=("ours",), delays=(20,), rounds=1
    )
    assert [(str(series.work), series.delay, series.contenders, series.rounds) for series in request.series] == [
        ("line:4:3", 0, ("ours",), 1),
        ("line:4:3", 20, ("ours",), 1),
    ]


def test_a_run_without_deployments_deploys_nothing() -> None:
    request = Request(parts=("start",))
    assert (request.series, request.together) == ([], ())
    assert set(PARTS) == {
        *("deploy", "links", "together", "boot", "image"),
        *("design", "faculty", "start", "commands", "create", "join"),
    }


def test_an_unknown_contender_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no contender terraform; there are ours"):
        check(("ours", "terraform"))

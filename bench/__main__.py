"""`python -m bench [PART...]`: measures the project's promises about speed, against its alternatives."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from bench import (
    booting,
    commands,
    copying,
    creating,
    designing,
    faculty,
    joining,
    machine,
    parts,
    report,
    startup,
    together,
)
from bench.parts import PARTS, ROUNDS, Request
from bench.rounds import ROOT, Arena, arena
from bench.samples import BenchError, Sample, Samples
from bench.work import Work
from lab import LabError, paths

FAILED = 1
NOT_MEASURED = 2
PROGRAMS = ROOT / ".cache/bench/bin"
RESULTS = ROOT / ".cache/performance.json"
PAGE = ROOT / "docs/performance.md"

_WITHOUT_LAB: dict[str, Callable[[int, Callable[[str], None]], Iterator[Sample]]] = {
    "start": startup.measure,
    "commands": commands.measure,
    "design": designing.measure,
    "faculty": faculty.measure,
}


def main() -> int:
    """Measure, write the page, print the summary; return 1 for a missed promise, 2 without any measurement."""
    signal.signal(signal.SIGTERM, _leave)
    wanted = _parser().parse_args()
    try:
        request = _request(wanted)
    except ValueError as error:
        _report(str(error))
        return NOT_MEASURED
    before = Samples.read(RESULTS) if (wanted.keep or wanted.report) and RESULTS.exists() else Samples()
    samples = Samples(about=before.about if wanted.report else machine.describe(PROGRAMS))
    if wanted.keep and before.about and not wanted.report:
        samples.about |= report.kept(before.about)
    failures = [] if wanted.report else _measure(request, samples)
    before.drop(samples.series)
    samples.add(before.all)
    if failures and not samples.series:
        return NOT_MEASURED
    samples.save(RESULTS)
    write(samples, wanted.page)
    _show(report.summary(samples))
    if failures:
        return NOT_MEASURED
    return FAILED if report.missed(samples) else 0


def write(samples: Samples, page: Path) -> None:
    """Write the page and its picture, with the caller as the owner."""
    picture = page.with_suffix(".svg")
    python = PROGRAMS / "python"
    if python.exists():
        subprocess.run([python, "-m", "bench.plot", RESULTS, picture], cwd=ROOT, check=True)
    page.write_text(report.page(samples, picture.name if picture.exists() else ""))
    paths.caller().own(*(path for path in (page, picture, RESULTS, RESULTS.parent) if path.exists()))


def _measure(request: Request, samples: Samples) -> list[str]:
    """Add all samples, also those before a failure, and go on with the next part; return the reasons of failures."""
    failures = []
    try:
        for part in _all(request):
            try:
                for sample in part:
                    samples.add([sample])
            except (BenchError, LabError, TimeoutError, subprocess.SubprocessError) as error:
                failures.append(str(error))
                _report(f"not measured: {error}")
    except KeyboardInterrupt:
        failures.append("interrupted")
        _report("interrupted")
    if failures:
        samples.about["not measured"] = "; ".join(failures)
    return failures


def _all(request: Request) -> Iterator[Iterator[Sample]]:
    """Yield every part, each with its own lab if it needs one."""
    yield from (measure(request.rounds, _report) for part, measure in _WITHOUT_LAB.items() if part in request.parts)
    if "image" in request.parts:
        yield _on_lab(max(copying.WORKERS), partial(copying.measure, rounds=request.rounds))
    for processes, vms in request.together:
        yield _on_lab(2, partial(together.measure, processes=processes, vms=vms, rounds=request.rounds))
    if "boot" in request.parts:
        yield _on_lab(2, partial(booting.measure, work=parts.BOOTING, rounds=request.rounds))
    if "create" in request.parts:
        yield _on_lab(2, partial(creating.measure, rounds=request.rounds))
    if "join" in request.parts:
        yield _on_lab(2, partial(joining.measure, rounds=request.rounds))
    for series in request.series:
        yield _on_lab(max(2, series.work.workers), partial(Arena.run, series=series))


def _on_lab(workers: int, measure: Callable[[Arena], Iterator[Sample]]) -> Iterator[Sample]:
    with arena(workers, PROGRAMS, _report) as there:
        yield from measure(there)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N", help=f"medians of so many (default: {ROUNDS})"
    )
    parser.add_argument("--slow-rounds", type=int, default=0, metavar="N", help="those of ssh and Ansible (as many)")
    parser.add_argument("--works", default="", metavar="ring:8,line:20:4", help="shape, VMs and workers to deploy")
    parser.add_argument("--contenders", default="", metavar="ours,floor", help="who takes part in `deploy` and `links`")
    parser.add_argument("--delays", default="", metavar="MS,MS", help="round trips of `links` (default: 100,20)")
    parser.add_argument("--keep", action="store_true", help="add to the last run's results")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the last run's page again")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    return parser


def _request(wanted: argparse.Namespace) -> Request:
    chosen = tuple(wanted.parts) or PARTS
    if unknown := [part for part in chosen if part not in PARTS]:
        raise ValueError(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if wanted.rounds < 1:
        raise ValueError("at least one round is needed")
    contenders = tuple(filter(None, wanted.contenders.split(",")))
    parts.check(contenders)
    return Request(
        parts=chosen,
        rounds=wanted.rounds,
        slow_rounds=wanted.slow_rounds,
        works=tuple(Work.parse(text) for text in filter(None, wanted.works.split(","))),
        contenders=contenders,
        delays=tuple(int(text) for text in filter(None, wanted.delays.split(","))),
    )


def _leave(_signal: int, _frame: object) -> None:
    """End the program on SIGTERM as on Ctrl-C, so that the lab is removed."""
    sys.exit(128 + signal.SIGTERM)


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _report(line: str) -> None:
    """Print progress to standard error, because standard output is the summary."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

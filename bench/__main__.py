"""`python -m bench [ring] [--vms N] [--repeat N]` and `python -m bench start [--repeat N]`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable

from bench import report, rounds, startup
from bench.ring import MAX_VMS, MIN_VMS
from lab import LabError

FAILED = 1
NOT_MEASURED = 2


def main() -> int:
    """Measure and show it; 1 when a bound is missed, 2 when nothing could be measured."""
    signal.signal(signal.SIGTERM, _leave)
    wish = _parser().parse_args(_with_command(sys.argv[1:]))
    _show([f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} when it began"])
    try:
        return _start(wish.repeat) if wish.command == "start" else _ring(wish.vms, wish.repeat)
    except (rounds.BenchError, LabError, TimeoutError) as error:
        _say(f"nothing was measured: {error}")
        return NOT_MEASURED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _ring(vms: int, repeat: int) -> int:
    results = rounds.measure(vms, repeat, _say)
    _show(report.lines(results, vms, repeat))
    return FAILED if report.missed(results) else 0


def _start(repeat: int) -> int:
    seen = startup.measure(repeat, _say)
    _show(seen.lines())
    return FAILED if seen.missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="ring | start")
    ring = commands.add_parser("ring", help="deploy and delete a ring of VMs, against one ssh process per command")
    ring.add_argument("--vms", type=int, default=8, choices=range(MIN_VMS, MAX_VMS + 1), metavar="N")
    ring.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds; the table has medians")
    start = commands.add_parser("start", help="the time to the menu on a file of 100 slices, and its memory")
    start.add_argument("--repeat", type=int, default=5, metavar="N")
    return parser


def _with_command(words: list[str]) -> list[str]:
    """Without a subcommand it is the ring that is measured."""
    return words if words and words[0] in {"ring", "start", "-h", "--help"} else ["ring", *words]


def _leave(_signal: int, _frame: object) -> None:
    """SIGTERM ends the program like Ctrl-C: the lab is taken down on the way out."""
    sys.exit(128 + signal.SIGTERM)


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _say(line: str) -> None:
    """Progress goes to standard error: standard output is the report."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""The report from samples: a summary for the terminal, and the page docs/performance.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from bench import bounds, clock, copying, designing, faculty, startup
from bench.bounds import BoundVerdict
from bench.rounds import TITLES
from bench.samples import Samples, Spread, show

NODE = "10.0.10.3"
CHANGES = ("design", "connect", "deploy", "status", "delete")
WITH_STAGES = ("ours", "floor", "first")
PHASES = ("preflight", "images", "network", "launch", "verify", "remove")


_HOW = """\
## How it was measured

Every contender did the same work on the same lab in turn, round after round. After every change the hosts were counted:
the same QEMU processes, TAPs, ports, dnsmasq processes and overlays after a deployment, nothing left after a deletion.
Times are medians with the smallest and the largest in brackets; compare ratios, not seconds.

- **Work**: VMs in rings or lines over the workers, three interfaces each, one of them in the internet VLAN. More than
  20 VMs are several slices, for a slice has 20 VLANs; they are deployed one after the other. Guests have 64 MB and
  a disk whose boot sector halts them, so that booting does not drown the rest.
- **The floor**: each host's commands of our own plan as one script on that host, hosts side by side, stage after
  stage. No SSH, no manager: the bench enters the host's namespaces.
- **The first floor**: the same, with the commands of the day on which this was first measured, kept as data in
  `bench/first-floor.json.xz`. It stays what it was, so that the floor itself can be seen to fall.
- **This project**: its use-cases, called as the menu calls them. *connect* is a connection and an empty batch on
  every host; what follows within 10 s finds the shells open that it left, as a user does. *images* is the workers'
  part of the stage `prepare`, *launch* theirs of `launch`, and *network* what the network node does beside them;
  *database* is all that is no stage.
- **pyinfra, Ansible**: the commands of our plan with their guards, one operation or task each, in our order and with
  our stages, hosts side by side. pyinfra through its API on connections made once, hosts not waiting for each other
  within a stage. Ansible with pipelining, 50 forks, no facts, `ControlPersist`, the strategy `free`, a list of tasks
  per host.
- **libvirt**: VMs only, on networks and disks that were there: one `virsh` per worker over `qemu+ssh`, connected
  beforehand, told all domains in turn; ports on `br-int` with their tags. It is compared with our launch and
  verification on the workers.
- **One ssh per command**: the documented design in sequence, OpenSSH's client with default settings.
- **status**: what "View my Slices" asks: one look at each host for all slices, and, by this project, its comparison
  with the database. Five looks a round.
- **A base image**: `scp` copies and is done; this project has the copy's digest compared, `qemu-img` look at it, and an
  overlay made on it.
- **Operations of the design**: the whole use-case. An operation saves once, but "add VM" and "delete slice" twice. *one
  save* is what no operation that replaces the file in one piece comes below: it is written, synced and renamed, and the
  one before it gets another name. The file stays one piece, so that both grow with it.
- **Commands**: `cli.py` from its start to its end, on a file with one slice in design; `validate` reads 1,000 VMs.
- **A slice from a file**: the file is read, checked and created by the use-case of `create`, on connections made once.
  Its floor is the workers' commands for the same disks, as one local script on each.
- **A link for a running pair**: two guests on two workers get a second link. The time runs from the start of
  `link` until both have got an answer over it. They have their addresses before: when a DHCP client asks is its matter.
- **Slow links**: a relay in the manager's cable inside the lab keeps every frame for half of the round trip, in both
  directions. It has no limit of bandwidth of its own and passes on what TCP sends in one piece in one piece.
"""


KEPT = "parts are of runs before"


def summary(samples: Samples) -> Iterator[str]:
    """Return the lines of standard output."""
    for series in samples.series:
        for contender in samples.contenders(series):
            cells = [f"{p} {s}" for p in samples.phases(series) if (s := samples.spread(series, contender, p))]
            yield f"{series:<22} {contender:<8} {', '.join(cells)}"
    yield ""
    yield from (_plain(verdict) for verdict in bounds.verdicts(samples) if verdict.seen is not None)


def missed(samples: Samples) -> list[BoundVerdict]:
    """Return the promises that were measured and not kept."""
    return [verdict for verdict in bounds.verdicts(samples) if verdict.met is False]


def page(samples: Samples, plot: str) -> str:
    """Return the whole page; `plot` is the name of the picture in the same folder, empty where there is none."""
    sections = [
        "# Performance\n",
        "".join(f"- {answer}\n" for answer in answers(samples)),
        "This page is written by `make bench`; nothing here is typed by hand.\n",
        f"![Times of deployment as parts of the floor's]({plot})\n" if plot else "",
        "## Promises\n",
        _table(("promise", "bound", "seen", ""), (_cells(verdict) for verdict in bounds.verdicts(samples))),
        "## The machine\n",
        _table(("machine", ""), ((name, text) for name, text in samples.about.items())),
        *_deployments(samples),
        *_at_once(samples),
        *_others(samples),
        _HOW,
    ]
    return "\n".join(section for section in sections if section)


def answers(samples: Samples) -> Iterator[str]:
    """Yield the answers to a reader's first questions, each in a sentence or two."""
    ring = bounds.ring(8)
    deploy, delete = (samples.spread(ring, "ours", phase) for phase in bounds.CHANGES)
    if deploy and delete:
        yield f"A ring of 8 VMs on 2 workers deploys in {show(deploy.median)} and is deleted in {show(delete.median)}."
    ratios = [samples.ratio(ring, phase, "ours", "floor") for phase in bounds.CHANGES]
    if None not in ratios:
        times = " and ".join(map(_number, ratios))
        yield f"That is {times} times *the floor*: the same commands as a local script on each host."
    slower = [(TITLES[who], samples.ratio(ring, "deploy", who, "ours")) for who in ("ssh", "ansible", "pyinfra")]
    if others := [f"{ratio:.1f} times as long with {title}" for title, ratio in slower if ratio]:
        yield f"The same deployment takes {', '.join(others)}."
    fleet = samples.spread(bounds.ring(80), "ours", "status")
    start = samples.spread(startup.series(startup.SMALL), "ours", "menu")
    if fleet and start:
        yield f'The menu opens in {show(start.median)}. "View my Slices" of 80 VMs takes {show(fleet.median)}.'
    seen = [verdict for verdict in bounds.verdicts(samples) if verdict.seen is not None]
    failed = [verdict.promise for verdict in missed(samples)]
    yield f"{len(seen) - len(failed)} of {len(seen)} promises are met."
    if failed:
        yield f"Missed: {'; '.join(failed)}."


def kept(about: dict[str, str]) -> dict[str, str]:
    """Return the sentence about earlier runs whose parts the page keeps: time and commit; empty for a single run."""
    earlier = (about.get(KEPT), f"{about['date']} of {about['commit']}")
    return {KEPT: "; ".join(filter(None, earlier))}


# --- deployments ------------------------------------------------------------------------------------------------------


def _deployments(samples: Samples) -> Iterator[str]:
    found = [series for series in samples.series if samples.of(series, "ours", "deploy") and series.endswith(" ms")]
    for series in sorted(found, key=_by_size):
        work, delay, _ = series.split(" ")
        over = f", {delay} ms round trip" if delay != "0" else ""
        yield f"## {title(work)}{over}\n"
        yield _table(("", "rounds", *CHANGES, "deploy / floor", "delete / floor"), _contenders(samples, series))
        yield _table(("seconds", *_shares_header(samples, series)), _shares(samples, series))


def _by_size(series: str) -> tuple[int, int, bool, int]:
    """Return the series with slow links last, then more workers, lines after rings, in any order of measurement."""
    work, delay, _ = series.split(" ")
    shape, vms, workers = work.split(":")
    return int(delay), int(workers), shape != "ring", int(vms)


def title(work: str) -> str:
    """Return the words for a work such as `ring:8:2`."""
    shape, vms, workers = work.split(":")
    return f"A {shape} of {vms} VMs on {workers} workers"


def _contenders(samples: Samples, series: str) -> Iterator[tuple[str, ...]]:
    for contender in samples.contenders(series):
        spreads = [samples.spread(series, contender, phase) for phase in CHANGES]
        ratios = [samples.ratio(series, phase, contender, "floor") for phase in ("deploy", "delete")]
        rounds = len(samples.of(series, contender, "deploy"))
        yield (TITLES[contender], str(rounds), *map(_cell, spreads), *map(_number, ratios))


def _shares_header(samples: Samples, series: str) -> list[str]:
    phases = [
        p for p in PHASES if any(p in row for who in ("ours", "floor", "first") for row in _rows(samples, series, who))
    ]
    return [*phases, "database", "all hosts"]


def _shares(samples: Samples, series: str) -> Iterator[tuple[str, ...]]:
    """Return the median time of each phase, for the host that took longest."""
    header = _shares_header(samples, series)
    for contender in WITH_STAGES:
        rows = _rows(samples, series, contender)
        if rows:
            cells = [_median([row[p] for row in rows if p in row]) for p in header[:-1]]
            yield (TITLES[contender], *cells, _hosts(samples, series, contender))


def _rows(samples: Samples, series: str, contender: str) -> list[dict[str, float]]:
    rows = []
    for deploy, delete in zip(
        samples.of(series, contender, "deploy"), samples.of(series, contender, "delete"), strict=False
    ):
        row = clock.phases({**deploy.facts["stages"], **delete.facts["stages"]}, NODE)
        if "database" in deploy.facts:
            row["database"] = deploy.facts["database"] + delete.facts["database"]
        rows.append(row)
    return rows


def _hosts(samples: Samples, series: str, contender: str) -> str:
    """Return each host's own time in the last round's deployment, without waits for others."""
    total: dict[str, float] = {}
    for hosts in samples.facts(series, contender, "deploy").get("stages", {}).values():
        for host, seconds in hosts.items():
            total[host] = total.get(host, 0.0) + seconds
    return ", ".join(f"{host} {seconds:.2f}" for host, seconds in sorted(total.items()))


def _at_once(samples: Samples) -> Iterator[str]:
    found = [series for series in samples.series if series.endswith(("at once", "booting"))]
    if found:
        yield "## At the same time, and booting\n"
        rows = [
            (series, TITLES[who], phase, str(samples.spread(series, who, phase)))
            for series in found
            for who in samples.contenders(series)
            for phase in samples.phases(series)
            if samples.of(series, who, phase)
        ]
        yield _table(("", "", "until", ""), rows)


# --- the manager alone ------------------------------------------------------------------------------------------------


def _others(samples: Samples) -> Iterator[str]:
    if copying.SERIES in samples.series:
        yield f"## A base {copying.SERIES}\n"
        rows = [
            (TITLES.get(who, who), phase, str(spread))
            for phase in samples.phases(copying.SERIES)
            for who in samples.contenders(copying.SERIES)
            if (spread := samples.spread(copying.SERIES, who, phase))
        ]
        yield _table(("", "to", "until it is there, checked"), rows)
    yield from _operations(samples)
    if "imports" in samples.series:
        yield "## The start of the menu\n"
        names = [startup.series(sizes) for sizes in (startup.SMALL, startup.LARGE)]
        rows = [(name, str(samples.spread(name, "ours", "menu")), _memory(samples, name)) for name in names]
        yield _table(("", "until the menu", "memory at rest, peak"), rows)
        slowest = samples.facts("imports", "ours", "menu")["slowest"]
        header = ("slowest imports, each with all that it imports", "")
        yield _table(header, ((f"`{name}`", show(seconds)) for name, seconds in slowest))


def _operations(samples: Samples) -> Iterator[str]:
    sizes = [vms for vms in designing.SIZES if designing.series(vms) in samples.series]
    if sizes:
        yield "## Operations of the design\n"
        kinds = [("load", "ours"), (designing.SAVE, "floor"), *((op, "ours") for op in designing.OPERATIONS)]
        costs = [[op, *(_cell(samples.spread(designing.series(vms), who, op)) for vms in sizes)] for op, who in kinds]
        yield _table(("", *(f"{vms} VMs" for vms in sizes)), costs)

    if large := [vms for vms in faculty.SIZES if faculty.series(vms) in samples.series]:
        yield "## Operations on PostgreSQL\n"
        phases = (*designing.OPERATIONS, faculty.FIRST_SCREEN)
        rows = [[op, *(_cell(samples.spread(faculty.series(vms), "ours", op)) for vms in large)] for op in phases]
        yield _table(("", *(f"{vms:,} VMs" for vms in large)), rows)


def _memory(samples: Samples, series: str) -> str:
    facts = [sample.facts for sample in samples.of(series, "ours", "menu")]
    return ", ".join(f"{max(fact[field] for fact in facts):.0f} MB" for field in ("rest", "peak"))


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(verdict: BoundVerdict) -> tuple[str, ...]:
    relation = "at least" if verdict.at_least else "at most"
    word = verdict.word if verdict.met is not False else f"**{verdict.word}**"
    return verdict.promise, f"{relation} {_amount(verdict.bound, verdict.unit)}", _seen(verdict), word


def _plain(verdict: BoundVerdict) -> str:
    promise, bound, seen, _ = _cells(verdict)
    return f"{verdict.word:<7} {promise:<58} {seen:>9}   {bound}"


def _seen(verdict: BoundVerdict) -> str:
    return "" if verdict.seen is None else _amount(verdict.seen, verdict.unit)


def _amount(number: float, unit: str) -> str:
    if unit == "s":
        return show(number)
    return f"{number:.0f} {unit}" if unit else f"{number:.2f}".rstrip("0").rstrip(".")


def _cell(spread: Spread | None) -> str:
    return str(spread) if spread else ""


def _number(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _median(values: Sequence[float]) -> str:
    return f"{median(values):.2f}" if values else ""

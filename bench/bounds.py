"""The project's promises about speed, as bounds on measurements. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from bench import commands, copying, creating, designing, faculty, joining, startup, together
from bench.samples import Samples
from bench.work import Work

TO_FLOOR = 1.15
TO_FIRST_FLOOR = 0.70
ROUND_TRIPS = 8
SLOW_LINK = 100
FASTER = {"ssh": 20.0, "ansible": 5.0, "pyinfra": 2.0, "libvirt": 2.0}
FLEET_SECONDS = 0.3
TO_SCP = 1.2
OPERATION_SECONDS = 0.025
OPERATION_GROWTH_SECONDS = 0.015
LOAD_SECONDS = 0.7
FACULTY_GROWTH_SECONDS, SCREEN_SECONDS, SCREEN_MEGABYTES = 0.005, 0.3, 60.0
MENU_SECONDS, MENU_MEGABYTES = 0.4, 60.0
LARGE_SECONDS, LARGE_MEGABYTES = 1.5, 100.0
COMMAND_SECONDS, VALIDATE_SECONDS = 0.4, 1.0
CREATE_TO_FLOOR, CREATE_SECONDS = 1.5, 0.4
JOIN_SECONDS = 2.0
CHANGES = ("deploy", "delete")
_WHEN = {"rest": "at rest", "peak": "at its peak"}


@dataclass(frozen=True)
class BoundVerdict:
    """A promise, its bound, and the measured value; `seen` is None where it was not measured."""

    promise: str
    bound: float
    seen: float | None
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Return whether the promise was kept; None without a measurement."""
        if self.seen is None:
            return None
        return self.seen >= self.bound if self.at_least else self.seen <= self.bound

    @property
    def word(self) -> str:
        """Return the verdict in a word."""
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]


def ring(vms: int, delay: int = 0, workers: int = 2) -> str:
    """Return the name of a ring's series."""
    return f"{Work('ring', vms, workers)} {delay} ms"


def verdicts(samples: Samples) -> list[BoundVerdict]:
    """Return the verdict on every promise."""
    makers: tuple[Callable[[Samples], Iterator[BoundVerdict]], ...] = (
        _floor, _links, _others, _status, _together, _image, _design, _faculty, _start, _commands, _create, _join,
    )  # fmt: skip
    return [verdict for maker in makers for verdict in maker(samples)]


def vms_part(samples: Samples, series: str, phase: str) -> float | None:
    """Return our time for the VMs alone: TAPs, ports and QEMU until its port is open, or until all of it is gone."""
    workers = samples.facts(series, "libvirt", "deploy").get("stages", {}).get("VMs", {})
    names = ("launch", "verify") if phase == "deploy" else ("remove",)
    found = []
    for sample in samples.of(series, "ours", phase):
        stages = sample.facts["stages"]
        found.append(sum(max((stages[name].get(host, 0.0) for host in workers), default=0.0) for name in names))
    return median(found) if found and workers else None


def _places(samples: Samples) -> Iterator[tuple[int, str]]:
    """Return numbers of workers with their phrases: two, and four where a run measured four."""
    yield 2, ""
    if any(samples.of(ring(vms, workers=4), "ours", "deploy") for vms in (8, 20, 40, 80)):
        yield 4, " on 4 workers"


def _floor(samples: Samples) -> Iterator[BoundVerdict]:
    for workers, on in _places(samples):
        for vms in (8, 20, 40):
            for phase in CHANGES:
                seen = samples.ratio(ring(vms, workers=workers), phase, "ours", "floor")
                yield BoundVerdict(f"{phase}, ring of {vms}{on}: times the floor", TO_FLOOR, seen)
    yield BoundVerdict(
        "deploy, ring of 20: times the first floor", TO_FIRST_FLOOR, samples.ratio(ring(20), "deploy", "ours", "first")
    )


def _links(samples: Samples) -> Iterator[BoundVerdict]:
    for phase in CHANGES:
        ours, floor = (samples.spread(ring(8, SLOW_LINK), who, phase) for who in ("ours", "floor"))
        trips = (ours.median - floor.median) / (SLOW_LINK / 1000) if ours and floor else None
        yield BoundVerdict(f"{phase} at {SLOW_LINK} ms: round trips above the floor", ROUND_TRIPS, trips)


def _others(samples: Samples) -> Iterator[BoundVerdict]:
    for other, times in FASTER.items():
        for phase in CHANGES:
            if other == "libvirt":
                part, theirs = vms_part(samples, ring(8), phase), samples.spread(ring(8), other, phase)
                seen = theirs.median / part if part and theirs else None
            else:
                seen = samples.ratio(ring(8), phase, other, "ours")
            yield BoundVerdict(f"{phase}, ring of 8: faster than {other}, times", times, seen, at_least=True)


def _status(samples: Samples) -> Iterator[BoundVerdict]:
    for workers, on in _places(samples):
        fleet = ring(80, workers=workers)
        spread = samples.spread(fleet, "ours", "status")
        yield BoundVerdict(f"status of 80 VMs{on}", FLEET_SECONDS, spread.median if spread else None, "s")
        trips = samples.facts(fleet, "ours", "status").get("round_trips", {})
        yield BoundVerdict(f"status of 80 VMs{on}: round trips per host", 1, max(trips.values()) if trips else None)


def _together(samples: Samples) -> Iterator[BoundVerdict]:
    one, two = together.series(1, 8), together.series(2, 8)

    def growth(contender: str) -> float | None:
        alone, both = samples.spread(one, contender, "deploy"), samples.spread(two, contender, "deploy")
        return both.median / alone.median if alone and both else None

    ours, floor = growth("ours"), growth("floor")
    seen = ours / floor if ours and floor else None
    yield BoundVerdict("two slices at once instead of one: growth, times the floor's", TO_FLOOR, seen)
    crowd = samples.of(together.series(20, 2), "ours", "connect")
    refused = max((sample.facts["refused"] for sample in crowd), default=None)
    yield BoundVerdict("20 processes connecting at once: connections refused", 0, refused)
    many = samples.ratio(together.series(20, 2), "deploy", "ours", "floor")
    yield BoundVerdict("20 slices by 20 processes: times the floor", TO_FLOOR, many)


def _image(samples: Samples) -> Iterator[BoundVerdict]:
    for workers in copying.WORKERS:
        phase = copying.phase(workers, 1)
        seen = samples.ratio(copying.SERIES, phase, "ours", "scp")
        yield BoundVerdict(f"{copying.SERIES} to {phase}: times scp", TO_SCP, seen)
    one, twice = (samples.spread(copying.SERIES, "ours", copying.phase(1, n)) for n in (1, 2))
    seen = twice.median / one.median if one and twice else None
    yield BoundVerdict(f"{copying.SERIES} for two slices at once: times one", TO_SCP, seen)


def _design(samples: Samples) -> Iterator[BoundVerdict]:
    small, large = designing.series(10), designing.series(1000)
    for operation in designing.OPERATIONS:
        spread, before = samples.spread(large, "ours", operation), samples.spread(small, "ours", operation)
        yield BoundVerdict(f"{operation} at 1,000 VMs", OPERATION_SECONDS, spread.median if spread else None, "s")
        growth = spread.median - before.median if spread and before else None
        yield BoundVerdict(f"{operation} at 1,000 VMs: more than at 10", OPERATION_GROWTH_SECONDS, growth, "s")
    load = samples.spread(designing.series(1000), "ours", "load")
    yield BoundVerdict("loading 1,000 VMs", LOAD_SECONDS, load.median if load else None, "s")


def _faculty(samples: Samples) -> Iterator[BoundVerdict]:
    small, large = (faculty.series(vms) for vms in faculty.SIZES)
    for operation in designing.OPERATIONS:
        spread, before = samples.spread(large, "ours", operation), samples.spread(small, "ours", operation)
        yield BoundVerdict(f"{large}: {operation}", OPERATION_SECONDS, spread.median if spread else None, "s")
        growth = spread.median - before.median if spread and before else None
        yield BoundVerdict(f"{large}: {operation}, more than at 10", FACULTY_GROWTH_SECONDS, growth, "s")
    screen = samples.spread(large, "ours", faculty.FIRST_SCREEN)
    yield BoundVerdict(f"{large}: first screen of a student", SCREEN_SECONDS, screen.median if screen else None, "s")
    memory = [sample.facts["rest"] for sample in samples.of(large, "ours", faculty.FIRST_SCREEN)]
    yield BoundVerdict(f"{large}: memory of a session", SCREEN_MEGABYTES, max(memory, default=None), "MB")


def _start(samples: Samples) -> Iterator[BoundVerdict]:
    small, large = startup.series(startup.SMALL), startup.series(startup.LARGE)
    for name, seconds, megabytes, field in (
        (small, MENU_SECONDS, MENU_MEGABYTES, "rest"),
        (large, LARGE_SECONDS, LARGE_MEGABYTES, "peak"),
    ):
        spread = samples.spread(name, "ours", "menu")
        yield BoundVerdict(f"{name}: until the menu", seconds, spread.median if spread else None, "s")
        memory = [sample.facts[field] for sample in samples.of(name, "ours", "menu")]
        yield BoundVerdict(f"{name}: memory {_WHEN[field]}", megabytes, max(memory, default=None), "MB")


def _commands(samples: Samples) -> Iterator[BoundVerdict]:
    for phase in ("list", "show", commands.VALIDATE):
        spread = samples.spread(commands.SERIES, "ours", phase)
        bound = VALIDATE_SECONDS if phase == commands.VALIDATE else COMMAND_SECONDS
        yield BoundVerdict(f"{phase}, from start to end", bound, spread.median if spread else None, "s")


def _create(samples: Samples) -> Iterator[BoundVerdict]:
    seen = samples.ratio(creating.PAIRED, creating.CREATE, "ours", "floor")
    yield BoundVerdict(f"{creating.PAIRED}: times the floor", CREATE_TO_FLOOR, seen)
    ours, floor = (samples.spread(creating.RING, who, creating.CREATE) for who in ("ours", "floor"))
    more = ours.median - floor.median if ours and floor else None
    yield BoundVerdict(f"{creating.RING}: more than its disks take", CREATE_SECONDS, more, "s")


def _join(samples: Samples) -> Iterator[BoundVerdict]:
    spread = samples.spread(joining.SERIES, "ours", joining.PINGED)
    yield BoundVerdict(
        f"{joining.SERIES}: until {joining.PINGED}", JOIN_SECONDS, spread.median if spread else None, "s"
    )

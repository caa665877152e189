"""`python -m bench.plot RESULTS PICTURE`: deployments relative to the floor's time. It needs matplotlib."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.samples import Samples

COLOURS = {
    "ours": "#d62728",
    "floor": "#444444",
    "free": "#999999",
    "first": "#1f77b4",
    "pyinfra": "#2ca02c",
    "libvirt": "#9467bd",
    "ansible": "#ff7f0e",
    "ssh": "#8c564b",
}


def bars(samples: Samples, series: str) -> list[tuple[str, float, float]]:
    """Return contender, deploy and delete relative to the floor, the fastest deployment first."""
    found = []
    for contender in samples.contenders(series):
        ratios = [samples.ratio(series, phase, contender, "floor") for phase in ("deploy", "delete")]
        if ratios[0] and ratios[1] and contender != "libvirt":
            found.append((contender, ratios[0], ratios[1]))
    return sorted(found, key=lambda bar: bar[1])


def curves(samples: Samples) -> dict[str, list[tuple[int, float]]]:
    """Return VMs and time relative to the first floor by contender, for rings on two workers without delay."""
    found: dict[str, list[tuple[int, float]]] = {}
    for series in samples.series:
        work, _, delay = series.partition(" ")
        if work.startswith("ring:") and work.endswith(":2") and delay == "0 ms":
            for contender in samples.contenders(series):
                ratio = samples.ratio(series, "deploy", contender, "first")
                if ratio and contender not in {"libvirt", "ssh", "ansible"}:
                    found.setdefault(contender, []).append((int(work.split(":")[1]), ratio))
    return {contender: sorted(points) for contender, points in found.items()}


def draw(samples: Samples, path: Path) -> None:
    """Draw two panels: all contenders at 8 VMs, and the growth with VMs."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    found = bars(samples, "ring:8:2 0 ms")
    for row, (contender, deploy, delete) in enumerate(found):
        left.barh(row - 0.2, deploy, 0.38, color=COLOURS[contender])
        left.barh(row + 0.2, delete, 0.38, color=COLOURS[contender], alpha=0.45)
        left.text(deploy * 1.05, row - 0.2, f"{deploy:.2f}", va="center", fontsize=7)
        left.text(delete * 1.05, row + 0.2, f"{delete:.2f}", va="center", fontsize=7)
    left.set_yticks(range(len(found)), [contender for contender, _, _ in found])
    left.invert_yaxis()
    left.set_xscale("log")
    left.xaxis.set_major_formatter("{x:g}")
    left.set_xlim(right=max([2.0, *(max(bar[1:]) for bar in found)]) * 2)
    left.set_title("ring of 8: times the floor (deploy; paler: delete)")
    for contender, points in curves(samples).items():
        right.plot(*zip(*points, strict=True), "o-", color=COLOURS[contender], label=contender)
    right.axhline(0.7, color="#bbbbbb", linestyle=":")
    right.set_title("deploying a ring: times the first floor")
    right.set_xlabel("VMs")
    right.set_ylim(bottom=0)
    if curves(samples):
        right.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(Samples.read(Path(sys.argv[1])), Path(sys.argv[2]))

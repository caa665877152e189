"""One script measures a host, and one parser reads it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from allocation.measuring import KIB_PER_GIB, Resources, measure, parse_resources
from core.errors import BadAnswer

SAID = "cores 4\nmemory 16777216\navailable 8388608\ndisk 104857600\noverlays 416\nclock 1795890196\n"


def run(folder: Path) -> Resources:
    done = subprocess.run(measure(str(folder)).argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return parse_resources(done.stdout)


def test_this_host_is_measured(tmp_path: Path) -> None:
    (tmp_path / "slice-1000").mkdir()
    (tmp_path / "slice-1000/vm_img.qcow2").write_bytes(b"x" * (1 << 20))
    seen = run(tmp_path)
    assert seen.cores == len(os.sched_getaffinity(0))
    assert abs(seen.memory - os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024) < KIB_PER_GIB
    assert 0 < seen.available < seen.memory
    assert seen.disk > 0
    assert seen.overlays >= 1024
    assert abs(seen.clock - time.time()) < 60


def test_a_host_without_images_is_measured_in_the_users_home(tmp_path: Path) -> None:
    assert run(tmp_path / "not there yet").overlays == 0


def test_an_answer_is_read_by_its_names() -> None:
    seen = Resources(4, 16777216, 8388608, 104857600, 416, 1795890196)
    assert parse_resources(SAID) == seen
    assert parse_resources("".join(reversed(SAID.splitlines(keepends=True)))) == seen


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (SAID.replace("cores 4\n", ""), "could not be measured"),
        (SAID + "more 1\n", "could not be measured"),
        (SAID.replace("cores 4", "cores"), " cores"),
        (SAID.replace("available 8388608", "available lots"), "lots KiB of free memory"),
        (SAID.replace("clock 17", "clock -17"), "seconds of its clock"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(answer: str, why: str) -> None:
    with pytest.raises(BadAnswer, match=why):
        parse_resources(answer)

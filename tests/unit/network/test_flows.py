"""The script that puts flows back, run by a real shell; ovs-ofctl is stood in for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from core.names import BRIDGE
from network import ovs

_OFCTL = """#!/bin/sh
echo "$@" >"$SAID"
case $* in *" -") cat >>"$SAID";; esac
"""


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        ("", ["--timeout=20 del-flows br-int cookie=0x7/-1"]),
        (
            "cookie=0x7, priority=1 actions=drop\ncookie=0x7, priority=2 actions=NORMAL\n",
            [
                "--timeout=20 --bundle add-flows br-int -",
                "delete cookie=0x7/-1",
                "cookie=0x7, priority=1 actions=drop",
                "cookie=0x7, priority=2 actions=NORMAL",
            ],
        ),
    ],
)
def test_flows_that_were_there_are_put_back_in_one_transaction(tmp_path: Path, before: str, asked: list[str]) -> None:
    (tmp_path / "ovs-ofctl").write_text(_OFCTL)
    (tmp_path / "ovs-ofctl").chmod(0o700)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SAID": str(tmp_path / "said")}
    (command,) = ovs.undo_flows(BRIDGE, "0x7").sparing({ovs.FLOWS: before})
    done = subprocess.run(
        command.argv, input=command.stdin, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "said").read_text().splitlines() == asked

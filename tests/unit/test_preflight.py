"""What the network node's preflight asks the programs there, played by scripts of ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import firewall
import vlan_manager


def run(folder: Path, name: str, script: str, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """`argv` where the program `name` is `script`."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": path, "LC_ALL": "C"})


@pytest.mark.parametrize(
    ("said", "status", "lacking"),
    [
        ("iptables: Bad rule (does a matching rule exist in that chain?).", 1, False),
        ("", 0, False),
        ("iptables v1.8.9 (nf_tables): Couldn't load match `u32':No such file or directory", 2, True),
        ("iptables v1.8.9 (legacy): can't load match `connlimit'", 2, True),
        ("Warning: Extension u32 revision 0 not supported, missing kernel module?\niptables: Bad rule.", 1, True),
    ],
)
def test_a_match_that_is_not_there_is_told_before_anything_changes(
    tmp_path: Path, said: str, status: int, lacking: bool
) -> None:
    script = f"cat >&2 <<'END'\n{said}\nEND\nexit {status}"
    done = run(tmp_path, "iptables", script, firewall.has_matches().argv)
    assert bool(done.returncode) is lacking
    if lacking:
        assert done.stderr.startswith("iptables cannot do what keeps guests apart; install its extensions and ")
        assert done.stderr.endswith(f"({said.splitlines()[0]})\n")


@pytest.mark.parametrize(
    ("blocks", "files", "free_files", "full"),
    [(100, 1000, 100, False), (9, 1000, 100, True), (100, 1000, 9, True), (10, 1000, 10, False), (100, 0, 0, False)],
)
def test_a_full_run_is_told_before_anything_changes(
    tmp_path: Path, blocks: int, files: int, free_files: int, full: bool
) -> None:
    """Two of three things are not there yet: ten blocks and as many files are needed."""
    paths = (str(tmp_path), f"{tmp_path}/one", f"{tmp_path}/another")
    argv = ("sh", "-c", vlan_manager._HAS_ROOM, "sh", *paths)
    done = run(tmp_path, "stat", f"echo {blocks} 4096 {files} {free_files}", argv)
    assert (done.returncode, done.stderr.startswith("/run is full; see what fills it")) == (int(full), full)

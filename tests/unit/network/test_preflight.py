"""The network node's preflight; scripts of ours replace the programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from core.names import DHCP_FIRST_HOST, DHCP_LAST_HOST
from network import dhcp, firewall
from shell.scripts import load


def run(folder: Path, name: str, script: str, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run `argv` with `script` as the program `name`."""
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
        ("iptables v1.8.9 (legacy): can't load match `hashlimit'", 2, True),
        ("Warning: Extension u32 revision 0 not supported, missing kernel module?\niptables: Bad rule.", 1, True),
    ],
)
def test_a_missing_match_is_reported_before_any_change(tmp_path: Path, said: str, status: int, lacking: bool) -> None:
    script = f"cat >&2 <<'END'\n{said}\nEND\nexit {status}"
    done = run(tmp_path, "iptables", script, firewall.check_matches().argv)
    assert bool(done.returncode) is lacking
    if lacking:
        assert done.stderr.startswith("iptables cannot do what keeps guests apart; install its extensions and ")
        assert done.stderr.endswith(f"({said.splitlines()[0]})\n")


@pytest.mark.parametrize(("guests", "others", "full"), [(1, 0, False), (2, 3, False), (2, 4, True), (6, 0, True)])
def test_more_guests_than_the_kernel_has_room_for_are_refused_with_the_cure(
    tmp_path: Path, guests: int, others: int, full: bool
) -> None:
    """Add guests to room for five; the slice's own file is not counted a second time."""
    hosts, kernel = tmp_path / "hosts", tmp_path / "kernel"
    for folder in (hosts, kernel):
        folder.mkdir()
    (hosts / "slice-1000").write_text("mac,address\n" * 9)
    (hosts / "slice-1001").write_text("mac,address\n" * others)
    (kernel / "nf_conntrack_tcp_timeout_time_wait").write_text("120\n")
    (kernel / "nf_conntrack_max").write_text(f"{5 * firewall.most_connections(120)}\n")
    _, _, script, *words = firewall.check_room(str(hosts), str(hosts / "slice-1000"), guests).argv
    script = script.replace("/proc/sys/net/netfilter", str(kernel))
    done = subprocess.run(["sh", "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == int(full)
    assert ("sysctl -w net.netfilter.nf_conntrack_max" in done.stderr) is full


def test_where_no_kernel_counts_connections_there_is_nothing_to_check(tmp_path: Path) -> None:
    _, _, script, *words = firewall.check_room(str(tmp_path), "", 9).argv
    script = script.replace("/proc/sys/net/netfilter", f"{tmp_path}/none")
    assert subprocess.run(["sh", "-c", script, *words], check=False).returncode == 0


def test_all_guests_together_cannot_fill_a_table_of_the_usual_size() -> None:
    guests = DHCP_LAST_HOST - DHCP_FIRST_HOST + 1
    assert guests * firewall.most_connections(120) <= 0.8 * 262_144
    assert firewall._EXPIRE_MS / 1000 * firewall.NEW_PER_SECOND >= firewall.NEW_BURST


@pytest.mark.parametrize(
    ("blocks", "files", "free_files", "full"),
    [(100, 1000, 100, False), (75, 1000, 100, True), (100, 1000, 11, True), (76, 1000, 12, False), (100, 0, 0, False)],
)
def test_a_full_run_folder_is_reported_before_any_change(
    tmp_path: Path, blocks: int, files: int, free_files: int, full: bool
) -> None:
    """Two of three things are not there yet, each with 6 files and a log of 32 blocks."""
    paths = (str(tmp_path), f"{tmp_path}/one", f"{tmp_path}/another")
    argv = load("dhcp/check-run-room").argv(*paths)
    done = run(tmp_path, "stat", f"echo {blocks} 4096 {files} {free_files}", argv)
    assert (done.returncode, done.stderr.startswith("/run is full; see what fills it")) == (int(full), full)


@pytest.mark.parametrize(
    ("servers", "own", "full"), [(3, [100], False), (4, [103], False), (4, [104], True), (9, [], True)]
)
def test_more_dhcp_servers_than_the_kernel_lets_start_are_refused_with_the_cure(
    tmp_path: Path, servers: int, own: list[int], full: bool
) -> None:
    """Add servers to room for four; a running server of the slice is not counted a second time."""
    limit = tmp_path / "limit"
    limit.write_text(f"{4 + dhcp.SPARE_INSTANCES}\n")
    for vlan in range(100, 100 + servers):
        (tmp_path / f"ns-dhcp-vlan{vlan}").mkdir()
    _, _, script, *words = dhcp.check_room(own).argv
    script = script.replace("/proc/sys/fs/inotify/max_user_instances", str(limit)).replace("/run/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == int(full)
    assert ("sysctl -w fs.inotify.max_user_instances" in done.stderr) is full

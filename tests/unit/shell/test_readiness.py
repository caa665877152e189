"""The scripts that look for signs of life, run by a real shell; stand-ins replace what only root may use."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shell.parallel import grouped
from shell.scripts import load

LOOK_AT_VMS = load("readiness/look-at-vms")
LOOK_AT_ADDRESSES = load("readiness/look-at-addresses")
MARK = "slice7-vm1"


def look(script: str, *groups: tuple[str, ...], path: str = "") -> list[str]:
    argv = ["sh", "-c", script, "look.sh", *grouped(groups)]
    env = os.environ | {"PATH": f"{path}:{os.environ['PATH']}"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return sorted(done.stdout.splitlines())


class LookedAt:
    """A VM on this machine: a process with its mark, TAPs in a folder in place of /sys, and its console's log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "r1.log"
        self.pid_file, self.net = folder / "r1.pid", folder / "net"
        self.process = subprocess.Popen(["python3", "-c", "import time; time.sleep(60)", MARK])
        self.pid_file.write_text(f"{self.process.pid}\n")

    def has_sent(self, tap: str, frames: str) -> str:
        statistics = self.net / tap / "statistics"
        statistics.mkdir(parents=True)
        (statistics / "rx_packets").write_text(frames)
        return tap

    def look(self, *patterns: str, taps: tuple[str, ...] = ()) -> list[str]:
        script = LOOK_AT_VMS.text.replace("/sys/class/net", str(self.net))
        group = ("1001", str(self.pid_file), MARK, str(self.log), str(len(taps)), *taps, *patterns)
        return [line.removeprefix("1001 ") for line in look(script, group)]


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[LookedAt]:
    made = LookedAt(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


EVENT = "qemu_system_shutdown_request"
ENDINGS = {
    "by the guest": (f"{EVENT} reason=6\n", True),
    "reset first": (f"{EVENT} reason=5\nqemu: a warning\n{EVENT} reason=6\n", True),
    "by a signal": (f"{EVENT} reason=6\n{EVENT} reason=4\n", False),
    "another reason": (f"{EVENT} reason=16\n{EVENT} reason=60\n", False),
    "no message": ("", False),
    "no file": (None, False),
}


@pytest.mark.parametrize("what", ENDINGS)
def test_a_vm_that_powered_itself_off_is_named(tmp_path: Path, what: str) -> None:
    said, is_named = ENDINGS[what]
    messages = tmp_path / "r1.qemu"
    if said is not None:
        messages.write_text(said)
    argv = load("vms/list-ended").argv(EVENT, "6", "1001", str(tmp_path / "r1.pid"), MARK, str(messages))
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["1001"] if is_named else [], "")


def test_a_vm_that_runs_is_not_named_as_off(vm: LookedAt) -> None:
    messages = vm.folder / "r1.qemu"
    messages.write_text(f"{EVENT} reason=6\n")
    argv = load("vms/list-ended").argv(EVENT, "6", "1001", str(vm.pid_file), MARK, str(messages))
    assert subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout == ""


def test_a_process_is_seen_while_it_runs(vm: LookedAt) -> None:
    assert vm.look() == ["process"]
    vm.pid_file.write_text("1\n")
    assert vm.look("a") == []
    vm.pid_file.unlink()
    assert vm.look("a") == []


@pytest.mark.parametrize(("frames", "seen"), [(("0\n",), False), (("0\n", "7\n"), True), (("",), False), ((), False)])
def test_a_frame_of_any_tap_counts(vm: LookedAt, frames: tuple[str, ...], seen: bool) -> None:
    taps = tuple(vm.has_sent(f"tap_1001_eth{number}", text) for number, text in enumerate(frames))
    assert vm.look(taps=(*taps, "tap_1001_eth9")) == (["frame"] if seen else []) + ["process"]


@pytest.mark.parametrize(
    ("patterns", "sign"),
    [
        (("login: *$",), ["console"]),
        (("no such", "^guest (ready|up)$"), ["console"]),
        (("no such",), []),
        (("-v",), []),
        (("login: *$", "a{1"), ["console"]),
        (("(",), ["patterns"]),
        (("$(touch hacked)", "`touch hacked`", "'; touch hacked; '"), []),
    ],
)
def test_a_pattern_is_compared_with_the_console(vm: LookedAt, patterns: tuple[str, ...], sign: list[str]) -> None:
    vm.log.write_bytes(b"\x1b[2J\x00\r\nguest ready\r\nguest login: ")
    assert vm.look(*patterns) == [*sign[:1], "process"] if sign != ["patterns"] else ["patterns", "process"]
    assert not list(vm.folder.glob("**/hacked"))
    assert not Path("hacked").exists()


def test_the_end_of_a_long_log_counts(vm: LookedAt) -> None:
    vm.log.write_text("login: \n" + "x" * 70_000)
    assert vm.look("login:") == ["process"]
    (vm.folder / "r1.log-old").write_text("old login: \n")
    (vm.folder / "r1.log-end").write_text("end")
    assert vm.look("old login") == ["console", "process"]
    (vm.folder / "r1.log-end").write_text("y" * 70_000)
    assert vm.look("old login") == ["process"]
    (vm.folder / "r1.log-old").unlink()
    assert vm.look("y$") == ["console", "process"]


@pytest.mark.parametrize("pattern", [r"(a|aa|aaa|aaaa){50}(b|c)\1{200}\2", "(((x{1,250}){1,250}){1,250}){1,250}"])
def test_a_pattern_that_takes_too_much_is_ended(vm: LookedAt, pattern: str) -> None:
    """Back references take exponential time, nested repetitions memory."""
    vm.log.write_text("a" * 65_000)
    began = time.monotonic()
    assert vm.look(pattern) in (["patterns", "process"], ["process"])
    assert time.monotonic() - began < 10


def test_many_vms_are_looked_at_side_by_side(vm: LookedAt) -> None:
    vm.log.write_text("ready")
    words = (str(vm.pid_file), MARK, str(vm.log), "0", "ready")
    found = look(LOOK_AT_VMS.text, *((str(number), *words) for number in range(1001, 1021)))
    assert len(found) == 40


# --- leases and SSH ---------------------------------------------------------------------------------------------------

_LOG = """\
Nov 29 01:00:00 dnsmasq-dhcp[7]: 12 DHCPDISCOVER(dhcp_v100) 52:54:00:03:e9:01
Nov 29 01:00:00 dnsmasq-dhcp[7]: 12 DHCPOFFER(dhcp_v100) 192.168.100.10 52:54:00:03:e9:01
Nov 29 01:00:01 dnsmasq-dhcp[7]: 12 DHCPACK(dhcp_v100) 192.168.100.11 52:54:00:03:ea:01 guest
"""


@pytest.mark.parametrize(
    ("pairs", "seen"),
    [
        (("log", "52:54:00:03:ea:01"), True),
        (("log", "52:54:00:03:e9:01"), False),
        (("gone", "52:54:00:03:ea:01"), False),
        (("gone", "52:54:00:03:e9:01", "log", "52:54:00:03:ea:01"), True),
        ((), False),
    ],
)
def test_a_lease_is_seen_in_the_log(tmp_path: Path, pairs: tuple[str, ...], seen: bool) -> None:
    (tmp_path / "log").write_text(_LOG)
    words = [str(tmp_path / word) if word in {"log", "gone"} else word for word in pairs]
    assert look(LOOK_AT_ADDRESSES.text, ("1001", "", "", *words)) == (["1001 lease"] if seen else [])


@pytest.mark.parametrize(
    ("banner", "seen"), [("SSH-2.0-OpenSSH_9.2", True), ("220 smtp", False), ("", False), ("SSH", False)]
)
@pytest.mark.parametrize("namespace", ["", "ns-gw-slice1000"])
def test_an_ssh_server_is_known_by_its_banner(tmp_path: Path, banner: str, seen: bool, namespace: str) -> None:
    """`ip`, `setpriv` and `socat` are stand-ins; the last one tells its words."""
    for name, text in {
        "ip": 'echo "$3" >>"$0.calls"; shift 3; exec "$@"',
        "setpriv": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "socat": f"echo \"$*\" >>\"$0.calls\"; printf '%.4s' '{banner}'",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o700)
    found = look(LOOK_AT_ADDRESSES.text, ("1001", namespace, "192.168.100.10"), path=str(tmp_path))
    assert found == (["1001 ssh"] if seen else [])
    said = (tmp_path / "socat.calls").read_text()
    assert re.search(r"TCP4:192\.168\.100\.10:22,connect-timeout=1,readbytes=4", said)
    assert (tmp_path / "ip.calls").exists() == bool(namespace)

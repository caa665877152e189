"""Captures that a worker refuses, with the real tcpdump; tests/lab/test_captures.py has those that begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from network.ovs import OWNER
from shell.scripts import load
from tests.support.own_host import OwnHost

TAP = "tap_1001_eth1"
WORDS = ("name", OWNER, TAP, "pcap", "4", "9", "256")


@pytest.fixture
def worker(host: OwnHost) -> OwnHost:
    """Return a worker with a device of the TAP's name and owner, which is up and has a carrier."""
    if not Path("/usr/bin/tcpdump").exists():
        pytest.skip("not installed: tcpdump")
    host.program("setpriv", 'while [ "$1" != -- ]; do shift; done', "shift", 'exec "$@"')
    host.do(f"ip link add {TAP} type veth peer name far; ip link set {TAP} alias {OWNER}")
    host.do(f"ip link set far up; ip link set {TAP} up")
    return host


def refusal(worker: OwnHost, filter_: str = "", seconds: int = 5) -> str:
    argv = load("connection/capture-packets").argv(*WORDS, str(seconds), filter_)
    done = worker.run(("env", "SUDO_UID=0", "SUDO_GID=0", *argv))
    assert done.stderr == ""
    return done.stdout


def test_an_interface_has_one_capture_at_a_time(worker: OwnHost) -> None:
    """Hold the lock as a capture does; it is free when its holder has ended."""
    worker.do(f"flock /sys/class/net/{TAP} sleep 2 >/dev/null 2>&1 &")
    answers = {refusal(worker) for _ in range(3)}
    assert answers == {"\nname busy\n"}


@pytest.mark.parametrize(
    ("filter_", "said"),
    [
        ("icmp and and", "can't parse filter expression: syntax error"),
        ("host evil.example.com", "unknown host 'evil.example.com'"),
        ("$(touch /run/pwned)", "syntax error"),
        ("icmp'; touch /run/pwned; '", "syntax error"),
        ('icmp"; touch /run/pwned; "', "syntax error"),
        ("icmp\ntouch /run/pwned", "syntax error"),
        ("-w /run/pwned", "syntax error"),
        ("--version", "syntax error"),
    ],
)
def test_a_wrong_filter_has_the_words_of_tcpdump_and_runs_nothing(worker: OwnHost, filter_: str, said: str) -> None:
    """The manager refuses some of these before; here they are attacks on the script itself."""
    answer = refusal(worker, filter_)
    assert answer.startswith("\nname filter tcpdump: ")
    assert answer.endswith(f"{said}\n")
    assert worker.run(("test", "-e", "/run/pwned")).returncode == 1


def test_a_filter_that_takes_too_long_is_refused(worker: OwnHost) -> None:
    worker.program("tcpdump", "exec sleep 30")
    assert refusal(worker, "icmp", seconds=1) == "\nname slow\n"


def test_a_program_that_fails_before_is_no_wrong_filter(worker: OwnHost) -> None:
    worker.program("unshare", "echo 'unshare: unshare failed: Operation not permitted' >&2", "exit 1")
    assert refusal(worker, "icmp") == "\nname failed unshare: unshare failed: Operation not permitted\n"


def test_a_tap_that_carries_nothing_is_named(worker: OwnHost) -> None:
    worker.do("ip link set far down")
    assert refusal(worker) == "\nname off\n"
    worker.do(f"ip link set {TAP} down")
    assert refusal(worker) == "\nname down\n"
    worker.do(f"ip link set {TAP} alias other")
    assert refusal(worker) == "\nname tap\n"
    worker.do(f"ip link del {TAP}")
    assert refusal(worker) == "\nname tap\n"


def test_a_worker_without_tcpdump_says_so(host: OwnHost) -> None:
    _, *script = load("connection/capture-packets").argv("n", OWNER, TAP, "pcap", "1", "1", "1", "1", "")
    assert host.run(("env", f"PATH={host.programs}", "/bin/sh", *script)).stdout.strip() == "n tcpdump"

"""TAPs and the table that drops their frames, by real ip and nft; veths stand in for TAPs, which only root can open."""

from __future__ import annotations

import shutil

import pytest

from network import stack
from shell.scripts import load
from tests.support.own_host import OwnHost

OWNER = "cloud-repositorio"
TAPS = ("tap_1001_eth0", "tap_1001_eth1", "tap_1002_eth0")

# /dev/net/tun may be opened by root only. What comes on standard input is left in the list of calls.
IP = """[ "$1" = -batch ] || exec {ip} "$@"
sed 's/^tuntap add mode tap name \\(.*\\) user .*/link add \\1 type veth peer name p\\1/' | tee -a {calls} | {ip} "$@"
"""


@pytest.fixture(autouse=True)
def programs(host: OwnHost) -> None:
    host.program("ip", IP.format(ip=shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin"), calls=host.called))


def make(host: OwnHost, *taps: str) -> list[str]:
    done = host.script("taps/make-taps", OWNER, "ubuntu", *taps)
    assert (done.returncode, done.stderr) == (0, "")
    assert are_ready(host, *taps)
    return done.stdout.split()


def are_ready(host: OwnHost, *taps: str) -> bool:
    ready = host.script("taps/taps-are-ready", OWNER, *taps).returncode == 0
    checked = host.script("taps/check-taps", OWNER, *taps)
    assert (checked.returncode == 0) == ready
    return ready


def devices(host: OwnHost) -> set[str]:
    return {name for name in host.do("ls /sys/class/net").split() if name.startswith(("tap_", "own"))}


def test_taps_are_made_once(host: OwnHost) -> None:
    assert not are_ready(host, *TAPS)
    assert make(host, *TAPS[:2]) == list(TAPS[:2])
    assert make(host, *TAPS) == [TAPS[2]]
    host.calls()
    assert make(host, *TAPS) == []
    assert host.calls() == []


def test_a_tap_goes_up_when_the_host_can_no_longer_answer_on_it(host: OwnHost) -> None:
    make(host, *TAPS)
    calls = host.calls()
    batches = "\n".join(calls).split("ip -batch -\n")[1:]
    assert len(batches) == 2
    assert " up" not in batches[0]
    assert batches[0].count("arp off") == len(TAPS)
    assert batches[1].splitlines() == [f"link set dev {tap} up" for tap in TAPS]


@pytest.mark.parametrize(
    "harm",
    [
        f"ip link set dev {TAPS[1]} down",
        f"ip link set dev {TAPS[1]} arp on",
        f"ip link set dev {TAPS[1]} alias other",
        f"sysctl -q -w net.ipv6.conf.{TAPS[1]}.disable_ipv6=0",
        f"sysctl -q -w net.ipv4.conf.{TAPS[1]}.rp_filter=0",
        f"ip link del dev {TAPS[1]}",
    ],
)
def test_a_tap_that_was_changed_by_hand_is_repaired(host: OwnHost, harm: str) -> None:
    make(host, *TAPS)
    host.do(harm)
    assert not are_ready(host, *TAPS)
    done = host.script("taps/check-taps", OWNER, *TAPS)
    assert done.stderr == f"TAP {TAPS[1]} is not as it was made: up, without ARP and IPv6\n"
    assert make(host, *TAPS) == [TAPS[1]]


def test_what_ip_complains_of_is_said(host: OwnHost) -> None:
    done = host.script("taps/make-taps", OWNER, "ubuntu", "tap_123456789_eth0")
    assert done.returncode == 1
    assert "not a valid ifname" in done.stderr
    assert "Command failed" not in done.stderr


def test_only_taps_of_ours_are_removed(host: OwnHost) -> None:
    make(host, *TAPS)
    host.do(f"ip link set dev {TAPS[0]} alias other; ip link add own type veth peer name pown")
    host.calls()
    done = host.script("taps/remove-taps", OWNER, "1879048192", *TAPS, "own", "tap_none")
    assert (done.returncode, done.stderr) == (0, "")
    assert devices(host) == {TAPS[0], "own"}
    assert host.calls().count("ip -batch -") == 1
    assert host.script("taps/remove-taps", OWNER, "1879048192", *TAPS).returncode == 0
    assert host.calls() == []


def test_a_foreign_device_with_the_name_of_a_tap_is_named(host: OwnHost) -> None:
    make(host, TAPS[0])
    assert host.script("taps/check-tap-names", OWNER, *TAPS).returncode == 0
    host.do(f"ip link add {TAPS[2]} type veth peer name other")
    done = host.script("taps/check-tap-names", OWNER, *TAPS)
    assert done.returncode == 1
    assert done.stderr.startswith(f"a device {TAPS[2]} is there that is not ours")


@pytest.mark.parametrize(
    "harm",
    [
        "nft flush chain inet cloud-repositorio-slice-1000 taps",
        "nft delete table inet cloud-repositorio-slice-1000",
        f"nft insert rule inet cloud-repositorio-slice-1000 taps iifname {TAPS[0]} accept",
    ],
)
def test_frames_of_taps_are_dropped_before_the_hosts_ip_stack(host: OwnHost, harm: str) -> None:
    make(host, *TAPS)
    drop, check = stack.drop_taps(1000, TAPS), stack.check_dropped(1000, TAPS)
    host.do("nft add table inet other")
    for change in ("", harm):
        host.do(change or "true")
        assert host.run(drop.unless).returncode != 0
        assert "nftables has not the table cloud-repositorio-slice-1000" in host.run(check.argv).stderr
        assert host.run(drop.argv, drop.stdin).returncode == 0
        assert host.run(drop.unless).returncode == host.run(check.argv).returncode == 0
    remove = stack.undo_drop(1000)
    assert host.run(remove.unless).returncode != 0
    assert [host.run(remove.argv, remove.stdin).returncode for _ in range(2)] == [0, 0]
    assert host.do("nft list tables") == "table inet other\n"


def test_before_the_first_tap_nft_is_not_asked(host: OwnHost) -> None:
    host.program("nft", "exit 1")
    assert host.run(stack.drop_taps(1000, TAPS).unless).returncode != 0
    assert host.calls() == []


def test_a_host_without_nft_has_nothing_to_remove() -> None:
    assert load("taps/has-no-nft").argv() == stack.undo_drop(1000).unless

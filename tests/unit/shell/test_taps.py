"""TAPs and the table that drops their frames, by real ip and nft; veths stand in for TAPs, which only root can open."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

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


def words(taps: Iterable[str], state: str = "up") -> list[str]:
    return [word for tap in taps for word in (state, tap)]


def make(host: OwnHost, *taps: str, state: str = "up") -> list[str]:
    done = host.script("taps/make-taps", OWNER, "ubuntu", *words(taps, state))
    assert (done.returncode, done.stderr) == (0, "")
    assert are_made(host, *taps, state=state)
    return done.stdout.split()


def are_made(host: OwnHost, *taps: str, state: str = "up") -> bool:
    return host.script("taps/taps-are-made", OWNER, *words(taps, state)).returncode == 0


def bring_up(host: OwnHost, *taps: str) -> list[str]:
    done = host.script("taps/raise-taps", *taps)
    assert (done.returncode, done.stderr) == (0, "")
    assert are_ready(host, *taps)
    return done.stdout.split()


def are_ready(host: OwnHost, *taps: str, state: str = "up") -> bool:
    return host.script("taps/check-taps", OWNER, *words(taps, state)).returncode == 0


def is_up(host: OwnHost, tap: str) -> bool:
    return host.script("taps/taps-are-up", tap).returncode == 0


def devices(host: OwnHost) -> set[str]:
    return {name for name in host.do("ls /sys/class/net").split() if name.startswith(("tap_", "own"))}


def test_taps_are_made_once(host: OwnHost) -> None:
    assert not are_made(host, *TAPS)
    assert make(host, *TAPS[:2]) == list(TAPS[:2])
    assert make(host, *TAPS) == [TAPS[2]]
    host.calls()
    assert make(host, *TAPS) == []
    assert host.calls() == []


def test_a_tap_goes_up_when_the_host_can_no_longer_answer_on_it(host: OwnHost) -> None:
    make(host, *TAPS)
    assert not are_ready(host, *TAPS)
    assert are_ready(host, *TAPS, state="down")
    assert bring_up(host, *TAPS[:2]) == list(TAPS[:2])
    assert bring_up(host, *TAPS) == [TAPS[2]]
    batches = "\n".join(host.calls()).split("ip -batch -\n")[1:]
    assert len(batches) == 3
    assert " up" not in batches[0]
    assert batches[0].count("arp off") == len(TAPS)
    assert batches[1].splitlines() == [f"link set dev {tap} up" for tap in TAPS[:2]]
    assert bring_up(host, *TAPS) == []
    assert host.calls() == []


def test_a_tap_without_a_link_goes_down_again(host: OwnHost) -> None:
    make(host, *TAPS)
    bring_up(host, *TAPS)
    assert are_made(host, *TAPS)
    assert not are_made(host, *TAPS, state="down")
    done = host.script("taps/check-taps", OWNER, *words(TAPS, "down"))
    assert done.stderr == f"TAP {TAPS[0]} is not as it was made: down, without ARP and IPv6\n"
    assert make(host, *TAPS[:2], state="down") == list(TAPS[:2])
    assert [is_up(host, tap) for tap in TAPS] == [False, False, True]


PORTS = f"{TAPS[0]},101,false,[],[]\n{TAPS[1]},102,false,[],[]\n5,{TAPS[0]}\n6,{TAPS[1]}"


def test_a_tap_is_down_when_its_port_comes_back(host: OwnHost) -> None:
    """Else its frames would pass before the flows around the port are there."""
    make(host, *TAPS)
    bring_up(host, *TAPS)
    note = f'read -r flags </sys/class/net/$tap/flags; [ $((flags & 1)) = 0 ] || echo "$tap is up" >>{host.called}'
    host.program("ovs-vsctl", f"printf '{PORTS}\n'", f"for tap in {' '.join(TAPS)}; do {note}; done")
    host.calls()
    wanted = (f"{TAPS[0]},101,false", f"{TAPS[1]},101,false", f"{TAPS[2]},-")
    done = host.script("bridge/join-taps", "3", *wanted, "--", "set", "Port", TAPS[1], "tag=101")
    assert (done.returncode, done.stderr) == (0, "")
    _, transaction, up, other, _, lowered = host.calls()[-6:]
    assert transaction == f"ovs-vsctl --timeout=20 -- set Port {TAPS[1]} tag=101"
    assert (up, other) == (f"{TAPS[0]} is up", f"{TAPS[2]} is up")
    assert lowered == f"link set dev {TAPS[2]} down"
    assert [is_up(host, tap) for tap in TAPS] == [True, False, False]


def test_a_tap_that_the_switch_brings_up_as_it_leaves_goes_down(host: OwnHost) -> None:
    make(host, *TAPS, state="down")
    host.program("ovs-vsctl", f"ip link set dev {TAPS[0]} up")
    assert host.script("bridge/join-taps", "1", f"{TAPS[0]},-", "--if-exists", "del-port", TAPS[0]).returncode == 0
    assert not is_up(host, TAPS[0])


def test_a_tap_that_is_a_port_without_a_link_goes_down(host: OwnHost) -> None:
    make(host, *TAPS)
    bring_up(host, *TAPS)
    host.program("ovs-vsctl", f"printf '{PORTS}\n'")
    assert host.script("bridge/join-taps", "1", f"{TAPS[0]},-", "--if-exists", "del-port", TAPS[0]).returncode == 0
    assert [is_up(host, tap) for tap in TAPS] == [False, True, True]


def test_ports_of_new_taps_cost_one_process(host: OwnHost) -> None:
    make(host, *TAPS)
    host.program("ovs-vsctl")
    host.calls()
    assert host.script("bridge/join-taps", "1", f"{TAPS[0]},101,false", "add-port").returncode == 0
    assert host.calls() == ["ovs-vsctl --timeout=20 add-port"]


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
    bring_up(host, *TAPS)
    host.do(harm)
    assert not are_ready(host, *TAPS)
    done = host.script("taps/check-taps", OWNER, *words(TAPS))
    assert done.stderr == f"TAP {TAPS[1]} is not as it was made: up, without ARP and IPv6\n"
    assert make(host, *TAPS) == ([TAPS[1]] if " down" not in harm else [])
    assert bring_up(host, *TAPS) == [TAPS[1]]


def test_a_rollback_brings_taps_down_that_went_up_and_up_those_that_were_up(host: OwnHost) -> None:
    make(host, *TAPS)
    bring_up(host, *TAPS[1:])
    before = host.script("taps/check-tap-names", OWNER, *TAPS, "tap_none").stdout
    assert before.splitlines() == [TAPS[0], TAPS[1], f"{TAPS[1]} up", TAPS[2], f"{TAPS[2]} up"]
    bring_up(host, TAPS[0])
    host.do(f"ip link set dev {TAPS[1]} down; ip link del dev {TAPS[2]}; ip link add own type veth peer name pown")
    host.do("ip link set dev own up")
    lower = host.script("taps/lower-taps", OWNER, TAPS[0], TAPS[2], "own")
    again = host.run(load("taps/raise-taps-again").argv(), before)
    assert (lower.returncode, lower.stderr, again.returncode, again.stderr) == (0, "", 0, "")
    assert [is_up(host, tap) for tap in (*TAPS, "own")] == [False, True, False, True]
    host.calls()
    assert host.script("taps/lower-taps", OWNER, TAPS[0], TAPS[2]).returncode == 0
    assert host.run(load("taps/raise-taps-again").argv(), before).returncode == 0
    assert host.calls() == []


def test_what_ip_complains_of_is_said(host: OwnHost) -> None:
    done = host.script("taps/make-taps", OWNER, "ubuntu", "up", "tap_123456789_eth0")
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

"""Hosts that die, hang or are slow at any moment of a change: one sentence in time, and each change can be finished."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

import cli
from lab import Lab
from tests.support.lab.visitor import HOSTS, Menu, traces, wait_until
from tests.support.paths import ROOT
from tests.support.playing import terminal_of
from tests.support.scale import scaled

pytestmark = [pytest.mark.lab, pytest.mark.torture, pytest.mark.usefixtures("idle_guests")]

ADDRESSES = {name: address for address, name in HOSTS.items()}
ALL = "all"
"""The faults of the network between the manager and all hosts."""

SECONDS = {"before": 25, "during deploy": 100, "after": 25, "during delete": 100}
"""The deadlines of docs/operations.md: a host lost before a change, and one lost in the middle."""

ENDED_BY_LOSS = (128 + signal.SIGHUP, cli.OUTPUT_LOST)
"""Exit statuses after a lost terminal; chance decides whether the end of input or of output is noticed first."""

INTERRUPTED = "Interrupted: the steps that have begun are finished first"
_LASTS_NOT = re.compile(r"^/run/.*\n?|@if\d+", re.MULTILINE)

Act = Callable[[Lab, str], object]


@dataclass(frozen=True)
class HostFault:
    """A fault with its beginning and end; `bearable` faults only take time."""

    breaks: Act
    mends: Act
    hosts: tuple[str, ...] = ("worker2", "network")
    bearable: bool = False


def _shell(script: str) -> Act:
    return lambda lab, host: lab.exec(host, ["sh", "-c", script])


def _round_trip(milliseconds: float) -> Act:
    return lambda lab, _host: lab.set_round_trip(milliseconds)


# The host starts sshd again when it ends, so it must not come up.
_NO_SSHD = """mv /usr/sbin/sshd /usr/sbin/sshd.real && install -m 755 /bin/false /usr/sbin/sshd
for p in /proc/[0-9]*; do case $(cat $p/comm) in sshd*) kill -9 ${p#/proc/};; esac; done 2>/dev/null
:"""
_SSHD_AGAIN = """mv /usr/sbin/sshd.real /usr/sbin/sshd
for try in $(seq 100); do ss -Hltn sport = :22 | grep -q . && exit; sleep 0.1; done
exit 1"""
FAULTS = {
    # No packet is answered, not even with a refusal.
    "cut": HostFault(Lab.cut, Lab.reconnect),
    # Its pid 1 is killed, and everything with it; later it boots.
    "unplugged": HostFault(Lab.stop_host, Lab.start_host),
    # sshd and all its sessions end; the rest lives.
    "no sshd": HostFault(_shell(_NO_SSHD), _shell(_SSHD_AGAIN)),
    # Every process but pid 1 is frozen; the kernel still acknowledges packets.
    "frozen": HostFault(_shell("kill -STOP -1"), _shell("kill -CONT -1")),
    "slow": HostFault(_round_trip(600), _round_trip(0), (ALL,), bearable=True),
    "too slow": HostFault(_round_trip(40_000), _round_trip(0), (ALL,)),
}
CASES = [(fault, moment, host) for fault in FAULTS for moment in SECONDS for host in FAULTS[fault].hosts]
BOUNDED = [
    ("frozen", "before", "worker2"),
    ("no sshd", "during deploy", "network"),
    ("slow", "during deploy", ALL),
    ("cut", "after", "network"),
    ("unplugged", "during delete", "worker2"),
]

# Open vSwitch's tool waits at a change of ports while the first file exists, and creates the second one meanwhile.
_GATE, _AT_GATE = "/run/gate", "/run/at-gate"
_VSCTL = "/usr/bin/ovs-vsctl"
_GATED = f"""#!/bin/sh
case "$*" in *add-port*|*del-port*)
  [ ! -e {_GATE} ] || : >{_AT_GATE}
  while [ -e {_GATE} ]; do sleep 0.1; done
  rm -f {_AT_GATE};;
esac
exec {_VSCTL}.real "$@"
"""


def design(menu: Menu, name: str) -> int:
    slice_id = menu.create_slice(re.sub(r"\W", "-", name))
    one, two = (menu.add_vm(slice_id, vm, 1, internet=True) for vm in ("one", "two"))
    menu.link(slice_id, one, "eth1", two, "eth1")
    return slice_id


@pytest.fixture(scope="module", autouse=True)
def _gates(lab: Lab, idle_guests: None) -> Iterator[None]:  # noqa: ARG001 - the image of these
    """Hold each host in the middle of a batch; the base image stays in the workers' caches."""
    menu = Menu(lab)
    menu.delete(design(menu, "first"))
    menu.close()
    for host in ADDRESSES:
        lab.exec(host, ["mv", _VSCTL, f"{_VSCTL}.real"])
        lab.exec(host, ["install", "-m", "755", "/dev/stdin", _VSCTL], input=_GATED)
    yield
    for host in ADDRESSES:
        lab.exec(host, ["mv", f"{_VSCTL}.real", _VSCTL])


@contextmanager
def lost_in_the_middle(lab: Lab, fault: str, host: str, begin: Callable[[], None]) -> Iterator[None]:
    """Begin the change, then cause the fault while the host works; the host is released afterwards."""
    held = "worker2" if host == ALL else host
    lab.exec(held, ["touch", _GATE])
    begin()
    wait_until(lambda: not lab.exec(held, ["test", "-e", _AT_GATE], check=False).returncode, "the batch", 30)
    with broken(lab, fault, host):
        if lab.node(held).pid:
            lab.exec(held, ["rm", _GATE])
        yield


@contextmanager
def broken(lab: Lab, fault: str, host: str) -> Iterator[None]:
    FAULTS[fault].breaks(lab, host)
    try:
        yield
    finally:
        FAULTS[fault].mends(lab, host)


@pytest.mark.parametrize(("fault", "moment", "host"), scaled(BOUNDED, CASES))
def test_a_host_that_is_lost(lab: Lab, menu: Menu, fault: str, moment: str, host: str) -> None:
    before_all = traces(lab)
    slice_id = design(menu, f"{fault}-{moment}")
    others = [name for name in ADDRESSES if host not in {name, ALL}]
    deleting = moment in {"after", "during delete"}
    # The expected state of the other hosts: without the slice, or as designed.
    expected = before_all if deleting else traces(lab)
    if deleting:
        menu.deploy(slice_id)
    entry = ("7", str(slice_id), "y") if deleting else ("6", str(slice_id))
    in_the_middle = moment.startswith("during")
    lost = (
        lost_in_the_middle(lab, fault, host, lambda: menu.type(*entry)) if in_the_middle else broken(lab, fault, host)
    )
    with lost:
        began = time.monotonic()
        if not in_the_middle:
            menu.type(*entry)
        shown = menu.read(seconds=SECONDS[moment])
        took = time.monotonic() - began
        if FAULTS[fault].bearable:
            assert ("Slice deleted" if deleting else "Slice deployed successfully") in shown, shown
        else:
            expect_sentence(shown, host)
            assert {name: traces(lab, [name])[name] for name in others} == {name: expected[name] for name in others}
            listed = menu.choose(5)
            assert f"Slice {slice_id}:" in listed
            assert not deleting or re.search(rf"still to be removed: .* on {address_of(host)}", listed), listed
    print(f"{fault} {moment} {host}: {took:.1f} s")  # noqa: T201
    if not FAULTS[fault].bearable and not deleting:
        menu.deploy(slice_id)
    if not (FAULTS[fault].bearable and deleting):
        menu.delete(slice_id)
    assert _lasting(traces(lab)) == _lasting(before_all)


def expect_sentence(shown: str, host: str) -> None:
    """Check that the sentence names the host and what to do."""
    error = next(line for line in shown.splitlines() if line.startswith("Error: "))
    assert re.search(rf"{address_of(host)} does not answer", error), shown
    assert re.search(r"in design|to clean up|delete it again later", error), error


def address_of(host: str) -> str:
    """Return a pattern for the host's address."""
    return r"10\.0\.10\.\d" if host == ALL else re.escape(ADDRESSES[host])


@pytest.mark.parametrize("fault", scaled(["cut"], ["cut", "frozen", "no sshd", "unplugged", "too slow"]))
def test_ctrl_c_while_a_host_hangs(lab: Lab, menu: Menu, fault: str) -> None:
    """Press Ctrl-C: it is reported at once, and the host gets no more time than without it."""
    before_all = traces(lab)
    slice_id = design(menu, f"ctrl-c-{fault}")
    designed = traces(lab)
    host = "worker2" if "worker2" in FAULTS[fault].hosts else ALL
    with lost_in_the_middle(lab, fault, host, lambda: menu.type("6", str(slice_id))):
        menu.interrupt()
        menu.read(INTERRUPTED, 5)
        expect_sentence(menu.read(seconds=SECONDS["during deploy"]), host)
        assert f"Slice {slice_id}:" in menu.choose(5)
        if host != ALL:
            assert traces(lab, ["worker1"])["worker1"] == designed["worker1"]
    menu.deploy(slice_id)
    menu.delete(slice_id)
    assert _lasting(traces(lab)) == _lasting(before_all)


@pytest.mark.parametrize("fault", scaled(["no sshd"], ["no sshd", "cut", "frozen", "unplugged", "too slow"]))
def test_the_terminal_is_lost_while_a_host_hangs(lab: Lab, fault: str) -> None:
    """Close the terminal: the manager rolls back, ends by itself, and the next login asks nothing.

    No user watches any more.
    """
    before_all = traces(lab)
    host = "worker2" if "worker2" in FAULTS[fault].hosts else ALL
    session = Menu(lab)
    slice_id = design(session, f"lost-{fault}")
    session.close()
    designed = traces(lab)
    program = lab.manager_argv([sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database)])
    with terminal_of(tuple(program)) as terminal:
        for answer, prompt in (("admin", "Username: "), ("admin", "Password: ")):
            terminal.wait_for(prompt)
            terminal.type(f"{answer}\r")

        def begin() -> None:
            for answer, prompt in (("6", "Choose an option: "), (str(slice_id), "Slice ID to deploy: ")):
                terminal.wait_for(prompt, 60)
                terminal.type(f"{answer}\r")

        with lost_in_the_middle(lab, fault, host, begin):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, terminal.master)  # the last holder of the terminal's other end
            os.close(null)
            status = _ended(terminal.pid, SECONDS["during deploy"])
            terminal.pid = 0
            assert status in ENDED_BY_LOSS
            if host != ALL:
                assert traces(lab, ["worker1"])["worker1"] == designed["worker1"]
    session = Menu(lab)
    assert "when its manager stopped" not in session.greeting
    assert re.search(rf"^Slice {slice_id}: .*design", session.choose(5), re.MULTILINE)
    session.delete(slice_id)
    session.close()
    assert _lasting(traces(lab)) == _lasting(before_all)


def _ended(pid: int, seconds: float) -> int:
    """Return the exit status of a child that ends by itself; kill it if it does not."""
    status: list[int] = []

    def has_ended() -> bool:
        found, said = os.waitpid(pid, os.WNOHANG)
        status.extend([os.waitstatus_to_exitcode(said)] if found else [])
        return bool(found)

    try:
        wait_until(has_ended, "the end of the manager", seconds)
    finally:
        with suppress(ProcessLookupError):
            if not status:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    return status[0]


def _lasting(state: dict[str, str]) -> dict[str, str]:
    """Return the state without objects that only a boot changes: files in /run and numbers of interfaces."""
    return {host: _LASTS_NOT.sub("", text) for host, text in state.items()}

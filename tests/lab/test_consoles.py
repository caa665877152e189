"""Consoles of real guests: one user at a time, no keys in another's shell, no remains of a dead manager."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from lab import Lab
from tests.support.acts import read_log
from tests.support.fake_terminal import FakeTerminal, TerminalState, fake_terminal
from tests.support.lab.visitor import IMAGES, Menu, SeenVM, wait_until
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

FREE_SECONDS = 30
"""Maximum time after which the console of a dead manager is free again."""


@dataclass(frozen=True)
class House:
    """A slice of the student with one VM, which both users may work on."""

    lab: Lab
    slice_id: int
    vm: SeenVM

    def open(self, user: str = "student", *answers: str, until: str = "Connected to only.") -> Menu:
        """Open a menu at the console."""
        menu = Menu(self.lab, user)
        menu.type("9", str(self.vm.vm_id), *answers)
        menu.read(until)
        return menu

    def visitors(self) -> str:
        """Return the programs at the console's socket on the worker."""
        script = "for pid in /proc/[0-9]*; do tr '\\0' ' ' <$pid/cmdline; echo; done 2>/dev/null | grep ^socat"
        return self.lab.exec(self.vm.worker, ["sh", "-c", f"{script} || :"]).stdout


@pytest.fixture(scope="module")
def house(lab: Lab) -> Iterator[House]:
    menu = Menu(lab, "student")
    slice_id = menu.create_slice("consoles")
    menu.add_vm(slice_id, "only", 1)
    menu.deploy(slice_id)
    house = House(lab, slice_id, menu.topology(slice_id)["only"])
    first = house.open()
    wait_until(lambda: _is_at_shell(first), "the guest's shell", 120)
    leave(first)
    yield house
    menu.delete(slice_id)
    menu.close()


def _is_at_shell(menu: Menu) -> bool:
    menu.type("root", "echo shell=$((6 * 7))")
    try:
        menu.read("shell=42", 3)
    except AssertionError:
        return False
    return True


def run(menu: Menu, command: str) -> str:
    """Return the output of a command in the guest."""
    menu.type(f"echo be''gin; {command}; echo e''nd")
    menu.read("begin")
    return menu.read("end")


def leave(menu: Menu) -> None:
    menu.type("\x1d")
    assert "Left the console" in menu.read()
    menu.close()


def test_a_second_user_is_informed_and_their_keys_do_not_run_in_the_firsts_shell(house: House) -> None:
    first = house.open()
    second = Menu(house.lab)
    second.type("9", str(house.vm.vm_id), "touch /tmp/stolen", "", "n")
    shown = second.read()
    assert "student is using the console of only, since " in shown
    assert "Take it over? (y/n): " in shown
    assert "Nothing was changed" in shown
    assert "Connected" not in shown
    assert "mine" in run(first, "echo mine; ls /tmp")
    leave(first)
    again = house.open()
    assert "stolen" not in run(again, "ls /tmp")
    leave(again)
    second.close()


def test_an_admin_takes_a_console_over_and_its_owner_takes_it_back(house: House) -> None:
    owner = house.open()
    admin = house.open("admin", "y")
    assert "The console was closed: admin took it over" in owner.read()
    owner.type("5")
    assert "consoles" in owner.read()  # further input goes to the menu
    assert "here" in run(admin, "echo here")
    owner.type("9", str(house.vm.vm_id), "y")
    owner.read("Connected to only.")
    assert "The console was closed: student took it over" in admin.read()
    assert "back" in run(owner, "echo back")
    leave(owner)
    admin.close()
    assert ("admin", "take console from student", "ok") in [
        (entry["actor"], entry["action"], entry["result"]) for entry in read_log(house.lab.database)
    ]


def test_a_console_of_a_manager_that_was_killed_is_free_again(house: House) -> None:
    house.open().kill()
    began = time.monotonic()
    wait_until(lambda: not house.visitors(), "the end of socat", FREE_SECONDS)
    leave(house.open())
    assert time.monotonic() - began < FREE_SECONDS


def test_a_console_whose_connection_was_cut_is_free_again(house: House) -> None:
    menu = house.open()
    house.lab.cut(house.vm.worker)
    try:
        wait_until(lambda: not house.visitors(), "the end of socat", FREE_SECONDS)
        assert "The console was closed: the connection to 10.0.10." in menu.read()
    finally:
        house.lab.reconnect(house.vm.worker)
    menu.close()
    leave(house.open())


@contextmanager
def menu_on(house: House, window: FakeTerminal) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the student's menu on a terminal."""
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(house.lab.database)]
    menu = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *house.lab.manager_argv(argv)],
        stdin=window.program,
        stdout=window.program,
        stderr=window.program,
    )
    try:
        for prompt in ("Username: ", "Password: "):
            window.wait_for(prompt, 60)
            window.type(b"student\r")
        window.wait_for("option: ", 60)
        yield menu
    finally:
        menu.kill()
        menu.wait()


def enter(house: House, window: FakeTerminal) -> None:
    window.type(b"9\r")
    window.wait_for("VM ID")
    window.type(f"{house.vm.vm_id}\r".encode())
    window.wait_for("Or with ~. after Enter", 60)


def leave_by_tilde(window: FakeTerminal) -> None:
    window.type(b"\r~.")
    window.wait_for("Left the console", 60)
    window.wait_for("option: ", 60)
    assert window.state == TerminalState()


def test_the_terminal_is_as_before_whatever_the_guest_left(house: House) -> None:
    with fake_terminal(delay=0.05) as window, menu_on(house, window) as menu:
        enter(house, window)
        modes = r"\033[?1049h\033[?1003;2004h\033[2;9r\033(0\033[31m\016\033="
        window.type(f"printf '{modes}'; printf '\\033[6n\\033[c'\r".encode())
        wait_until(lambda: "?1003" in window.state.modes and window.state.shifted, "the guest's modes", 30)
        leave_by_tilde(window)
        window.type(b"0\r")
        assert menu.wait(60) == 0
        assert "Error" not in window.shown


def test_a_guest_that_never_stops_talking_is_left_at_once(house: House) -> None:
    with fake_terminal() as window, menu_on(house, window) as menu:
        enter(house, window)
        window.type(b"yes flood\r")
        window.wait_for("flood\r\nflood\r\n", 30)
        began = time.monotonic()
        leave_by_tilde(window)
        assert time.monotonic() - began < 15
        assert not house.visitors()
        enter(house, window)
        window.type(b"\x03\recho qui''et\r")
        window.wait_for("quiet", 30)
        leave_by_tilde(window)
        window.type(b"0\r")
        assert menu.wait(60) == 0


def test_a_stopped_vm_is_reported_as_off_with_advice(house: House) -> None:
    off = f"VM {house.vm.vm_id} (only) is off; start it: start {house.slice_id} only"
    menu = house.open()
    menu.type("poweroff -f")
    assert f"The console was closed: {off}" in menu.read()
    assert f"Error: {off}" in menu.choose(9, house.vm.vm_id)
    assert "Slice repaired" in menu.choose(11, house.slice_id)
    pid_file = f"{IMAGES}/slice-{house.slice_id}/only.pid"
    house.lab.exec(house.vm.worker, ["sh", "-c", f"kill -9 $(cat {pid_file})"])
    wait_until(lambda: f"Error: {off}" in menu.choose(9, house.vm.vm_id), "the end of QEMU", 10)
    assert "Slice repaired" in menu.choose(11, house.slice_id)
    menu.type("9", str(house.vm.vm_id))
    menu.read("Connected to only.")
    leave(menu)

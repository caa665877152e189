"""Blocks of ssh_config and known hosts: what the real ssh reads in them, for every path and name."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core import ssh_keys
from core.errors import Refused
from lifecycle.reach import WayIn
from menu import commands, restricted, session
from menu.arguments import parser
from menu.entries import ENTRIES
from menu.keyboard import Keyboard, Lines
from menu.screen import Screen
from menu.ssh_config import blocks, known_hosts
from tests.support.desk import Desk
from tests.support.paths import ROOT
from tests.support.playing import screen_of

pytestmark = pytest.mark.on_a_file

WAY = WayIn("lab-r1", "lab", "r1", "debian", "cloud-0123456789abcdef", "ssh-ed25519 AAAA")


@pytest.fixture
def running(desk: Desk) -> Desk:
    """Return a running slice `lab`: r1 with internet access and a link, r2 with the link, and r3 with neither."""
    ok = desk.ok
    slice_id = ok(desk.api.create_slice("student", "lab")).slice_id
    ids = [
        ok(desk.api.add_vm_to_slice("student", slice_id, f"r{number}", "cirros", 1, number == 1)).vm_id
        for number in (1, 2, 3)
    ]
    ok(desk.api.create_link("student", slice_id, ids[0], "eth1", ids[1], "eth1"))
    with desk.database.transaction() as state:
        state.slices[slice_id].vms[0].host_secret = ssh_keys.new_secret()
    desk.api.accounts.set_password("student", "long enough")
    return desk


def run(desk: Desk, *words: str, actor: str = "student") -> tuple[int, str]:
    output = io.BytesIO()
    args = parser(desk.path).parse_args(["ssh-config", *words, "--as", actor])
    screen = screen_of(output)
    status = commands.carry_out(desk.api, args, screen)
    return status, output.getvalue().decode()


def seen_by_ssh(config: str, host: str, folder: Path) -> dict[str, str]:
    """Return what ssh(1) would do for a host, by the names of its options in small letters."""
    file = folder / "config"
    file.write_text(config)
    done = subprocess.run(["ssh", "-G", "-F", file, host], capture_output=True, text=True, check=True)
    return {name: value for name, _, value in (line.partition(" ") for line in done.stdout.splitlines())}


def test_ssh_understands_the_blocks(running: Desk, tmp_path: Path) -> None:
    status, config = run(running, "lab", "--via", "cloud@manager")
    assert status == 3  # r3 has no way in
    disk = running.slice().vms[0].disk_id
    assert config.partition("\n\n")[0].splitlines() == [
        "Host lab-r1",
        "    User student",
        f"    HostKeyAlias cloud-{disk}",
        "    UserKnownHostsFile ~/.ssh/cloud_known_hosts",
        "    ProxyCommand ssh cloud@manager connect lab r1",
    ]
    seen = seen_by_ssh(config, "lab-r2", tmp_path)
    assert seen["user"] == "student"
    assert seen["hostkeyalias"] == f"cloud-{running.slice().vms[1].disk_id}"
    assert seen["proxycommand"] == "ssh cloud@manager connect lab r2"
    assert seen["userknownhostsfile"].endswith("/.ssh/cloud_known_hosts")
    assert "proxycommand" not in seen_by_ssh(config, "lab-r3", tmp_path)


def test_known_hosts_are_those_of_the_disks(running: Desk) -> None:
    vm = running.slice().vms[0]
    assert vm.host_secret
    status, lines = run(running, "lab", "--known-hosts")
    assert (status, lines) == (3, f"cloud-{vm.disk_id} {ssh_keys.public_key(vm.host_secret)}\n")
    found = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=lines, capture_output=True, text=True, check=True
    ).stdout
    assert f" cloud-{vm.disk_id} (ED25519)" in found


def test_all_slices_are_in_it_and_a_name_that_means_another_one_is_an_id(running: Desk) -> None:
    second = running.ok(running.api.create_slice("student", "lab")).slice_id
    vm = running.ok(running.api.add_vm_to_slice("student", second, "r1", "cirros", 1, True))
    config = run(running, "--via", "cloud@manager")[1]
    hosts = [line.split()[1] for line in config.splitlines() if line.startswith("Host ")]
    assert hosts == ["1000-r1", "1000-r2", f"{second}-r1"]
    assert f"connect {second} {vm.name}\n" in config


def test_on_the_manager_the_program_itself_is_the_way(running: Desk, tmp_path: Path) -> None:
    command = seen_by_ssh(run(running, "lab")[1], "lab-r1", tmp_path)["proxycommand"]
    program = ROOT / "cli.py"
    assert command == f"{sys.executable} {program} --database {running.path} --as student connect lab r1"


def restricted_run(desk: Desk, command: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capfd.readouterr()
    status = restricted.carry_out(desk.api, "student", command.encode(), Screen(sys.stdout, terminal=False))
    return status, capfd.readouterr().out


def test_at_a_restricted_session_the_manager_has_a_name(running: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused, match="such as --via cloud@manager"):
        restricted_run(running, "ssh-config lab", capfd)
    status, config = restricted_run(running, "ssh-config lab --via me@10.0.0.1", capfd)
    assert status == 3
    assert "ProxyCommand ssh me@10.0.0.1 connect lab r1\n" in config
    running.path.write_text(f"{running.path.read_text()}login: {{address: cloud@lab.example.org}}\n")
    assert (
        "ProxyCommand ssh cloud@lab.example.org connect lab r1\n" in restricted_run(running, "ssh-config lab", capfd)[1]
    )
    assert restricted_run(running, "ssh-config lab --known-hosts", capfd)[1].startswith("cloud-")


@pytest.mark.parametrize(
    "via", ["-oProxyCommand=id", "cloud@-x", "a b", "cloud@manager;id", "@manager", "cloud@", "$(id)", "a%h", "a\nb"]
)
def test_a_manager_that_is_no_host_is_refused(running: Desk, via: str) -> None:
    with pytest.raises(SystemExit) as end:
        run(running, "lab", f"--via={via}")
    assert end.value.code == 2


@pytest.mark.long
@given(st.lists(st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1), min_size=1, max_size=4))
@example(["\\"])
@example(["a\\'b", '\\"'])
@settings(max_examples=60, deadline=None)  # ssh and a shell are started
def test_every_path_arrives_at_the_users_shell_as_it_is(words: list[str]) -> None:
    """Run the real ssh: its ProxyCommand writes its arguments, and gives no greeting."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = folder / "told"
        code = f"import json, sys; json.dump(sys.argv[1:], open({str(told)!r}, 'w'))"
        config = blocks([WAY], (sys.executable, "-c", code, *words))
        (folder / "config").write_text(config)
        argv = ["ssh", "-F", str(folder / "config"), "-o", "BatchMode=yes", "lab-r1", "true"]
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        assert json.loads(told.read_text()) == [*words, "connect", "lab", "r1"]


def test_a_vm_without_a_known_key_has_no_line() -> None:
    unknown = WayIn("lab-r2", "lab", "r2", "debian", "cloud-f", "")
    assert known_hosts([WAY, unknown]) == "cloud-0123456789abcdef ssh-ed25519 AAAA\n"


def play(desk: Desk, script: str) -> str:
    """Return the output of the menu, played on these lines."""
    output = io.BytesIO()
    screen = screen_of(output)
    with tempfile.TemporaryFile() as file:
        file.write(f"student\nlong enough\n{script}0\n".encode())
        file.seek(0)
        session.run(desk.api, screen, Keyboard(Lines(file.fileno()), screen), ENTRIES)
    return output.getvalue().decode()


def test_entry_18_shows_what_to_type(running: Desk) -> None:
    shown = play(running, "18\n2\n1000\n")
    assert "cloud@manager stands for this manager: write it as you do after ssh\n" in shown
    assert "  ssh cloud@manager ssh-config lab --known-hosts >>~/.ssh/cloud_known_hosts\n" in shown
    assert "  ssh cloud@manager ssh-config lab --via cloud@manager >>~/.ssh/config\n" in shown
    assert "  ssh lab-r1\n  ssh lab-r2\n" in shown
    assert "Warning: lab-r3 has no address that leads outside; use its console\n" in shown


def test_entry_18_shows_the_config_itself(running: Desk) -> None:
    running.path.write_text(f"{running.path.read_text()}login: {{address: cloud@lab.example.org}}\n")
    shown = play(running, "18\n3\n1000\n")
    assert "Host lab-r1\n    User student\n" in shown
    assert "    ProxyCommand ssh cloud@lab.example.org connect lab r1\n" in shown
    assert "For ~/.ssh/cloud_known_hosts:\ncloud-" in shown


def test_entry_18_has_the_users_keys(running: Desk) -> None:
    key = ssh_keys.public_key(ssh_keys.new_secret(), "laptop")
    shown = play(running, f"18\n5\n{key}\n18\n4\n")
    assert "  1. ssh-ed25519 SHA256:" in shown
    assert "You have no keys yet\n" in play(running, "18\n6\n1\n18\n4\n")


def test_a_slice_without_a_way_in_says_so(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("student", "lab"))
    desk.api.accounts.set_password("student", "long enough")
    shown = play(desk, "18\n2\n1000\n")
    assert "Error: Slice 1000 has no VM with internet access or a link to a gateway\n" in shown

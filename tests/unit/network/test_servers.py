"""The scripts that start and check DHCP servers, run by a real shell; stand-ins replace root's programs."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.errors import wait_until
from shell.parallel import grouped
from shell.scripts import Script, load

VLANS = (101, 102, 103)
SERVERS_SERVE = load("dhcp/servers-serve")

# `ip netns exec NAMESPACE dnsmasq --pid-file=FILE`: a process with the mark as an argument, which reports its start.
_IP = """#!/bin/sh
[ "$1 $2" = "netns exec" ] || exit 9
case $3 in *102) [ ! -e "$BROKEN" ] || { echo "dnsmasq: out of luck" >&2; exit 2; };; esac
echo "$3" >>"$BEGUN"
python3 -c 'import time; time.sleep(60)' "$5" >/dev/null 2>&1 &
echo $! >"${5#--pid-file=}"
"""
_SS = """#!/bin/sh
case " $DEAF " in *" $2 "*) echo "UNCONN 0 0 0.0.0.0%if7:67";; *) echo "UNCONN 0 0 0.0.0.0%dhcp:67";; esac
"""


class NodeFolder:
    """A folder in place of a network node."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder, folder / "bin"
        self.programs.mkdir()
        for name, text in (("ip", _IP), ("ss", _SS)):
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o700)
        self.begun, self.broken = folder / "begun", folder / "broken"

    def words(self, vlan: int) -> tuple[str, str, str]:
        pid_file = self.folder / f"{vlan}.pid"
        return f"ns-dhcp-vlan{vlan}", str(pid_file), f"--pid-file={pid_file}"

    def logs(self, vlan: int) -> tuple[str, str]:
        return str(self.folder / f"{vlan}.log"), str(self.folder / f"link{vlan}.log")

    def run(
        self, script: Script, words: list[str], deaf: str = "", *, unheard: bool = False
    ) -> subprocess.CompletedProcess[str]:
        names = {"BEGUN": str(self.begun), "BROKEN": str(self.broken), "DEAF": deaf}
        environment = os.environ | names | {"PATH": f"{self.programs}:{os.environ['PATH']}"}
        argv = script.argv(*words)
        if not unheard:
            return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=30)
        unread, end = os.pipe()
        os.close(unread)
        try:
            return subprocess.run(argv, env=environment, stdout=end, stderr=end, text=True, check=False, timeout=30)
        finally:
            os.close(end)

    def serve(self, deaf: str = "") -> subprocess.CompletedProcess[str]:
        self.begun.write_text("")
        groups = ((*self.words(vlan), *self.logs(vlan), "dnsmasq", self.words(vlan)[2]) for vlan in VLANS)
        return self.run(load("dhcp/start-servers"), grouped(groups), deaf)

    def all_serve(self, script: Script = SERVERS_SERVE, deaf: str = "") -> subprocess.CompletedProcess[str]:
        return self.run(script, grouped(map(self.words, VLANS)), deaf)

    def pids(self) -> dict[int, str]:
        return {vlan: self.folder.joinpath(f"{vlan}.pid").read_text() for vlan in VLANS}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeFolder]:
    made = NodeFolder(tmp_path)
    yield made
    for path in tmp_path.glob("*.pid"):
        with suppress(ProcessLookupError):  # a process that should have ended
            os.kill(int(path.read_text()), 9)


def test_all_come_up_and_a_second_time_none_is_touched(node: NodeFolder) -> None:
    assert node.all_serve().returncode != 0
    done = node.serve()
    assert (done.returncode, done.stderr, sorted(done.stdout.split())) == (0, "", ["101", "102", "103"])
    assert node.all_serve().returncode == 0
    before = node.pids()
    assert (node.serve().stdout, node.begun.read_text(), node.pids()) == ("", "", before)


def test_one_that_does_not_start_is_named_and_the_others_serve(node: NodeFolder) -> None:
    node.broken.touch()
    done = node.serve()
    assert (done.returncode, done.stderr) == (1, "ns-dhcp-vlan102: dnsmasq: out of luck\n")
    assert sorted(node.begun.read_text().split()) == ["ns-dhcp-vlan101", "ns-dhcp-vlan103"]
    node.broken.unlink()
    assert (node.serve().stdout, node.begun.read_text()) == ("102\n", "ns-dhcp-vlan102\n")


@pytest.mark.long
def test_a_server_on_a_removed_interface_is_restarted(node: NodeFolder) -> None:
    node.serve()
    before = node.pids()
    assert node.all_serve(deaf="ns-dhcp-vlan103").returncode != 0
    assert node.serve(deaf="ns-dhcp-vlan103").stdout == "103\n"
    after = node.pids()
    assert {vlan for vlan in VLANS if before[vlan] != after[vlan]} == {103}
    assert not Path(f"/proc/{before[103].strip()}").exists()


def test_the_check_names_the_namespace(node: NodeFolder) -> None:
    node.serve()
    assert node.all_serve(load("dhcp/check-servers")).returncode == 0
    done = node.all_serve(load("dhcp/check-servers"), deaf="ns-dhcp-vlan102")
    assert (done.returncode, done.stderr) == (1, "ns-dhcp-vlan102: no dnsmasq serves there\n")


def test_a_log_has_a_link_where_its_place_is_free_and_nothing_else_there_is_touched(node: NodeFolder) -> None:
    free, folder, link = (node.folder / f"link{vlan}.log" for vlan in VLANS)
    folder.mkdir()
    link.symlink_to(node.folder / "elsewhere")
    done = node.serve()
    assert (done.returncode, done.stderr) == (0, "")
    assert free.readlink() == node.folder / "101.log"
    assert list(folder.iterdir()) == []
    assert link.readlink() == node.folder / "elsewhere"
    assert not (node.folder / "elsewhere").exists()


def test_only_links_to_logs_of_ours_are_removed(tmp_path: Path) -> None:
    ours, other, folder, text = (tmp_path / name for name in ("ours", "other", "folder", "text"))
    ours.symlink_to("/run/ns-dhcp-vlan999999/log")
    other.symlink_to("/etc/passwd")
    folder.mkdir()
    folder.joinpath("log").touch()
    text.touch()
    if os.getuid() == 0:
        os.chown(text, 1234, -1)  # a person's file; a file of dnsmasq's user would be ours
    script = load("dhcp/remove-log-links").text.replace("-user root", f"-user {os.getuid()}")
    links = [str(path) for path in (ours, tmp_path / "none", other, folder, text)]
    done = subprocess.run(["sh", "-c", script, "sh", *links], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "other", "text"]
    assert subprocess.run(["sh", "-c", script, "sh", str(ours)], check=False).returncode == 0


def leave(node: NodeFolder, vlan: int, own: str) -> subprocess.CompletedProcess[str]:
    """Remove one slice from the server of a VLAN after the death of its manager: no process reads the output."""
    hosts = node.folder / "hosts"
    server = (*node.words(vlan), *node.logs(vlan), "dnsmasq", node.words(vlan)[2])
    return node.run(load("dhcp/leave-server"), [str(hosts / own), str(hosts), *server], unheard=True)


@pytest.mark.long
def test_leaving_a_shared_server_keeps_it_for_the_others_also_without_a_manager(node: NodeFolder) -> None:
    hosts = node.folder / "hosts"
    hosts.mkdir()
    for name in ("slice-1", "slice-2"):
        (hosts / name).write_text("a,b\n")
    node.serve()
    before = node.pids()
    assert leave(node, 101, "slice-1").returncode == 0
    assert [path.name for path in hosts.iterdir()] == ["slice-2"]
    after = node.pids()
    assert {vlan for vlan in VLANS if before[vlan] != after[vlan]} == {101}, "it would hold the addresses that it gave"
    assert node.all_serve().returncode == 0
    assert leave(node, 101, "slice-1").returncode == 0
    assert node.pids() == after, "who has left already changes nothing"
    os.kill(int(after[101]), 9)
    wait_until(lambda: not Path(f"/proc/{after[101].strip()}").exists(), 10, "the end of a process that was killed")
    assert leave(node, 101, "slice-1").returncode == 0
    assert node.all_serve().returncode == 0, "and brings it back where it is missing"
    assert leave(node, 101, "slice-2").returncode == 0
    assert not hosts.exists()
    assert node.all_serve().returncode == 1
    assert leave(node, 101, "slice-2").returncode == 0


def test_reservations_are_written_where_there_are_none(tmp_path: Path) -> None:
    kept, new = tmp_path / "kept", tmp_path / "new"
    kept.write_text("as it is\n")
    groups = [("ns-dhcp-vlan101", str(kept), "a,b"), ("ns-dhcp-vlan102", str(new), "a,b", "c,d")]
    look = load("dhcp/reservations-are-written").argv(str(kept), str(new))
    assert subprocess.run(look, check=False).returncode != 0
    argv = load("dhcp/write-reservations").argv(*grouped(groups))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "102\n", "")
    assert (kept.read_text(), new.read_text()) == ("as it is\n", "a,b\nc,d\n")
    assert subprocess.run(look, check=False).returncode == 0
    nowhere = grouped([("ns-dhcp-vlan103", str(tmp_path / "no" / "file"), "a,b")])
    done = subprocess.run([*argv[:4], *nowhere], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ns-dhcp-vlan103: ")
    assert done.stderr.endswith("no/file cannot be written; is /run full?\n")


@pytest.mark.parametrize(("size", "left"), [(65_535, 65_535), (65_536, 0), (131_072, 0)])
def test_a_log_that_is_half_full_is_emptied_for_a_further_slice(tmp_path: Path, size: int, left: int) -> None:
    log, own = tmp_path / "log", tmp_path / "hosts" / "slice-7"
    own.parent.mkdir()
    log.write_bytes(bytes(size))
    argv = load("dhcp/write-reservations").argv(*grouped([("ns-dhcp-vlan400", str(own), "a,b")]))
    for _ in range(2):
        subprocess.run(argv, check=True, timeout=30)
    assert log.stat().st_size == left


def test_servers_that_are_stopped_leave_their_namespaces_and_nothing_of_others(tmp_path: Path) -> None:
    pids = {}
    for vlan in (101, 102):
        folder = tmp_path / f"ns-dhcp-vlan{vlan}"
        folder.joinpath("hosts").mkdir(parents=True)
        for name in ("log", "hosts/slice-1", "hosts/slice-2"):
            folder.joinpath(name).touch()
        pid_file = folder / "pid"
        server = subprocess.Popen(["python3", "-c", "import time; time.sleep(60)", f"--pid-file={pid_file}"])
        pid_file.write_text(f"{server.pid}\n", encoding="utf-8")
        threading.Thread(target=server.wait).start()  # a process that nothing waits for does not go
        pids[vlan] = server
    script = load("dhcp/stop-servers").text.replace("/run/$1", f"{tmp_path}/$1")
    words = ["ns-dhcp-vlan101", str(tmp_path / "link"), str(tmp_path / "ns-dhcp-vlan101/hosts/slice-1")]
    for _ in range(2):
        done = subprocess.run(["sh", "-c", script, "sh", *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert pids[101].wait(10) is not None
    assert pids[102].poll() is None
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {f"ns-dhcp-vlan102/{name}" for name in ("pid", "log", "hosts/slice-1", "hosts/slice-2")}
    assert left == {"ns-dhcp-vlan101/hosts/slice-2", *kept}
    pids[102].kill()
    pids[102].wait(10)


def test_namespaces_are_listed_with_the_servers_that_run(tmp_path: Path) -> None:
    marked, foreign = tmp_path / "ns-dhcp-vlan101", tmp_path / "netns" / "ns-gw-slice7"
    marked.mkdir()
    foreign.parent.mkdir()
    script = load("namespaces/check-namespace-names").text.replace("/run/", f"{tmp_path}/")

    def look(*names: str) -> tuple[int, list[str]]:
        done = subprocess.run(["sh", "-c", script, "sh", *names], capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout or done.stderr).splitlines()

    assert look("ns-dhcp-vlan101", "ns-gw-slice7") == (0, ["ns-dhcp-vlan101"])
    pid_file = marked / "pid"
    with subprocess.Popen(["python3", "-c", "import time; time.sleep(60)", f"--pid-file={pid_file}"]) as server:
        pid_file.write_text(f"{server.pid}\n", encoding="utf-8")
        assert look("ns-dhcp-vlan101") == (0, ["ns-dhcp-vlan101", "dnsmasq of VLAN 101"])
        removal = load("namespaces/remove-namespaces").text.replace("/run/", f"{tmp_path}/")
        subprocess.run(["sh", "-c", removal, "sh", "ns-dhcp-vlan101"], check=True, stdin=subprocess.DEVNULL)
        assert pid_file.exists(), "without it the process would be forgotten"
        server.kill()
    foreign.touch()
    status, said = look("ns-gw-slice7")
    assert (status, said[0][:30]) == (1, "a namespace ns-gw-slice7 is th")

"""Copies by OpenSSH's client: its own faults, and its use of our settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import paramiko
import pytest

from core.errors import HostUnreachable, Refused
from core.inventory import SSHSettings
from remote import openssh, ssh, upload
from remote.openssh import Copy
from remote.plan import Command, Step, Upload
from tests.support.loopback import LoopbackHost


def settings(host: LoopbackHost, folder: Path, **changes: str) -> SSHSettings:
    (folder / "ssh").mkdir(parents=True, exist_ok=True)
    return host.settings(folder, **changes)


def copy(settings: SSHSettings, image: Path, timeout: float = 20.0) -> Copy:
    return Copy("127.0.0.1", settings, Upload(str(image), "./base.img", "./.base.img.part", ()), timeout)


def complaint(settings: SSHSettings, image: Path) -> HostUnreachable:
    with pytest.raises(HostUnreachable) as caught:
        list(copy(settings, image).transfer())
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(".")
    assert not caught.value.begun
    return caught.value


def test_progress_is_reported_for_every_mebibyte_and_the_end(host: LoopbackHost, tmp_path: Path, image: Path) -> None:
    file = copy(settings(host, tmp_path), image)
    progress = list(file.transfer())
    assert (progress[0], progress[-1], file.size, file.status) == (0, 3_000_000, 3_000_000, 0)
    assert all(later - earlier < 2 << 20 for earlier, later in pairwise(progress))
    assert (host.home / "base.img").read_bytes() == image.read_bytes()


def test_names_that_the_client_would_read_otherwise(host: LoopbackHost, tmp_path: Path, image: Path) -> None:
    folder = tmp_path / 'a %h\'s ~ \\ "place"'
    list(copy(settings(host, folder), image).transfer())
    assert "127.0.0.1" in (folder / "ssh" / "known_hosts").read_text()


def test_an_empty_file_is_a_file(host: LoopbackHost, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert set(copy(settings(host, tmp_path), empty).transfer()) == {0}
    assert (host.home / "base.img").read_bytes() == b""


def test_a_client_that_was_turned_away_tries_again(host: LoopbackHost, tmp_path: Path, image: Path) -> None:
    host.turns_away = 3
    list(copy(settings(host, tmp_path), image).transfer())
    assert host.connections == 4


def test_another_host_key_gets_no_file(host: LoopbackHost, tmp_path: Path, image: Path) -> None:
    wanted = settings(host, tmp_path)
    key = paramiko.ECDSAKey.generate()
    line = f"[127.0.0.1]:{host.port} {key.get_name()} {key.get_base64()}\n"
    Path(wanted.known_hosts).write_text(line, encoding="ascii")
    assert f"its host key is not the one in {wanted.known_hosts}" in str(complaint(wanted, image))
    assert Path(wanted.known_hosts).read_text(encoding="ascii") == line


def test_an_unknown_host_key_is_accepted_at_first_sight_only_where_that_is_wanted(
    host: LoopbackHost, tmp_path: Path, image: Path
) -> None:
    assert "its host key is not the one in" in str(complaint(settings(host, tmp_path, host_keys="strict"), image))
    list(copy(settings(host, tmp_path), image).transfer())
    list(copy(settings(host, tmp_path, host_keys="strict"), image).transfer())


def test_a_key_that_is_refused(host: LoopbackHost, tmp_path: Path, image: Path) -> None:
    host.accepts = False
    wanted = settings(host, tmp_path)
    refused = f"it refuses user ubuntu with the key {wanted.key_file}"
    assert str(complaint(wanted, image)).endswith(refused)
    Path(f"{wanted.key_file}.pub").touch()
    assert str(complaint(wanted, image)).endswith(f"{refused}; is {wanted.key_file}.pub of another key?")


def test_a_key_that_others_may_read(host: LoopbackHost, tmp_path: Path, image: Path) -> None:
    wanted = settings(host, tmp_path)
    Path(wanted.key_file).chmod(0o644)
    said = str(complaint(wanted, image))
    assert said.endswith(f"{wanted.key_file} (bad permissions): is it whole, and open to its owner only?")


def test_a_program_that_ends_without_a_word(host: LoopbackHost, tmp_path: Path, image: Path) -> None:
    wanted = Upload(str(image), "./base.img", "./.base.img.part", (), ("sh", "-c", "exit 7"))
    file = Copy("127.0.0.1", settings(host, tmp_path), wanted, 20.0)
    list(file.transfer())
    assert (file.status, file.complaint) == (7, "it ended with status 7")


def test_a_client_that_is_killed(
    host: LoopbackHost, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def noting(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(openssh, "_run", noting)
    progress = copy(settings(host, tmp_path), image).transfer()
    assert next(progress) == 0
    started[0].kill()
    with pytest.raises(HostUnreachable) as caught:
        list(progress)
    assert caught.value.begun
    assert [process.returncode for process in started] == [-9]


def test_an_image_that_is_being_written_is_hashed_once_and_refused(
    host: LoopbackHost, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed, real = [], upload._hash

    def noting(file: int) -> str:
        hashed.append(file)
        return real(file)

    monkeypatch.setattr(upload, "_hash", noting)
    progress = copy(settings(host, tmp_path), image).transfer()

    def write() -> None:
        for _ in progress:
            with image.open("ab") as file:
                file.write(b"more")

    with pytest.raises(Refused, match="cannot be read on this machine: another process is writing to it"):
        write()
    assert len(hashed) == 1


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_a_path_that_is_no_file_is_refused(host: LoopbackHost, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(Refused, match="is not a file"):
        list(copy(settings(host, tmp_path), path).transfer())


@pytest.mark.long
def test_the_manager_may_take_its_time(
    host: LoopbackHost, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use a slow digest and a stopped terminal: neither counts as the host's silence."""
    real = upload._hash

    def slow(file: int) -> str:
        time.sleep(2)
        return real(file)

    monkeypatch.setattr(upload, "_hash", slow)
    image.write_bytes(os.urandom(3_000_000))
    file = copy(settings(host, tmp_path), image, timeout=1.0)
    for number, _ in enumerate(file.transfer()):
        if number == 1:
            time.sleep(1.5)
    assert file.status == 0


def test_a_host_that_is_not_there(host: LoopbackHost, tmp_path: Path, image: Path) -> None:
    closed = replace(settings(host, tmp_path), port=1)
    assert "Connection refused" in str(complaint(closed, image))


@pytest.mark.parametrize("login_shell", ["sh", "bash", "tcsh"])
def test_the_login_shell_there_is_whichever_it_is(
    host: LoopbackHost, tmp_path: Path, image: Path, login_shell: str
) -> None:
    """Use tcsh, which reads quotes on one line only; root's part starts through it, too."""
    if login_shell == "tcsh" and not shutil.which(login_shell):
        pytest.skip("make packages installs it")
    host.login_shell = login_shell
    wanted = Upload(str(image), "./it's here.img", "./.it's.part", (), ("sh", "-c", "true\n# it's\n"))
    file = Copy("127.0.0.1", settings(host, tmp_path), wanted, 20.0)
    list(file.transfer())
    assert (file.status, (host.home / "it's here.img").read_bytes()) == (0, image.read_bytes())
    client = ssh.SSHHost("127.0.0.1", host.settings(tmp_path))
    (outcome,) = client.run([Step("127.0.0.1", "a step", (Command(("echo", "it's\nhere!")),))])
    client.close()
    assert getattr(outcome, "stdout", "") == "it's\nhere!\n"


def test_a_machine_without_the_client(
    host: LoopbackHost, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(Refused, match=r"^ssh, which copies images, cannot be run on this machine: No such file"):
        list(copy(settings(host, tmp_path), image).transfer())

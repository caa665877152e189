"""The causes of unusable hosts, by the failed stage: over a real connection, and the sentences alone."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import CloudError, HostUnreachable, HostUnusable, LoginFailed, NotBegun, SudoRefused
from core.inventory import SSHSettings, Timeouts
from remote import causes, ssh
from remote.plan import Command, Step
from tests.support.loopback import LoopbackHost

SHORT = Timeouts(connect=1.0, silence=2.0, change=7.0)


def failure(settings: SSHSettings, timeout: float = 7.0) -> CloudError:
    client = ssh.SSHHost("127.0.0.1", settings)
    with pytest.raises(CloudError) as caught:
        list(client.run([Step("127.0.0.1", "a step", (Command(("true",)),))], timeout=timeout))
    client.close()
    assert not client._is_connected
    return caught.value


@contextmanager
def greeting_server(words: bytes, *, stays: bool = False) -> Iterator[int]:
    """Run a server that greets with these words and hangs up, or stays; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(words)
                    if stays:
                        ended.wait(30)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)


@pytest.mark.parametrize(
    ("words", "stays", "kind", "why"),
    [
        (b"", True, HostUnreachable, "sent no greeting within 1 s (ssh: timeouts: connect); it hangs"),
        (b"", False, HostUnusable, "it hangs up before it greets; has sshd there too many at once (MaxStartups)"),
        (
            b"Exceeded MaxStartups\r\n",
            False,
            HostUnusable,
            'before it greets; it says "Exceeded MaxStartups"; has sshd',
        ),
        (b"HTTP/1.1 400 Bad\r\n\r\n", False, HostUnusable, "or is something else on port"),
        (b"SSH-2.0-OpenSSH_9\r\n", True, HostUnreachable, "it greeted, and the key exchange took more than 1 s"),
        (b"SSH-2.0-OpenSSH_9\r\n", False, HostUnusable, "the key exchange with it failed"),
        (b"SSH-1.5-old\r\n", True, HostUnusable, "the key exchange with it failed"),
    ],
)
def test_a_server_that_is_no_ssh_server_is_named(
    host: LoopbackHost, tmp_path: Path, words: bytes, stays: bool, kind: type[CloudError], why: str
) -> None:
    with greeting_server(words, stays=stays) as port:
        error = failure(replace(host.settings(tmp_path, timeouts=SHORT), port=port))
    assert type(error) is kind
    assert why in str(error)
    assert not error.begun


@pytest.mark.long
def test_a_login_that_takes_too_long_is_not_called_a_refusal(host: LoopbackHost, tmp_path: Path) -> None:
    host.login_seconds = 3
    error = failure(host.settings(tmp_path, timeouts=SHORT))
    assert isinstance(error, HostUnusable)
    assert "it has not let user ubuntu in within 1 s (ssh: timeouts: connect); let its sshd not wait" in str(error)
    longer = ssh.SSHHost("127.0.0.1", host.settings(tmp_path, timeouts=replace(SHORT, connect=8.0)))
    assert list(longer.run([Step("127.0.0.1", "a step", (Command(("true",)),))]))
    longer.close()


@pytest.mark.parametrize(
    ("login", "why"),
    [
        (
            "exit 1; ",
            "ended with status 1 before it ran a command, and says nothing; does a start file such as ~/.bashrc",
        ),
        ("echo This account is currently not available.; exit 1; ", 'currently not available."; give ubuntu a shell'),
        ("echo 'Your password has expired' >&2; exit 1; ", 'has expired"; renew the password of ubuntu there'),
        ("echo 'no home: Permission denied' >&2; exit 1; ", '"no home: Permission denied"; correct that there'),
        ("echo back on Monday >&2; exit 254; ", '"back on Monday"; /etc/nologin there keeps users out'),
        ("printf '\\033[2J\\033]0;x\\007%0500d' 7 >&2; exit 3; ", 'and says "[2J]0;x00'),
    ],
)
def test_a_login_shell_that_ends_is_not_called_sudo(host: LoopbackHost, tmp_path: Path, login: str, why: str) -> None:
    host.login = login
    error = failure(host.settings(tmp_path))
    assert isinstance(error, LoginFailed)
    assert "the login shell of ubuntu there ended with status" in str(error)
    assert why in str(error)
    assert "sudo" not in str(error)
    assert str(error).isprintable()


def test_a_greeting_of_the_login_shell_does_no_harm(host: LoopbackHost, tmp_path: Path) -> None:
    host.login = "echo hello; echo careful >&2; "
    client = ssh.SSHHost("127.0.0.1", host.settings(tmp_path))
    for _ in range(2):
        (outcome,) = client.run([Step("127.0.0.1", "a step", (Command(("echo", "here")),))])
        assert getattr(outcome, "stdout", "") == "here\n"
    client.close()
    host.sudo = "echo sudo: no >&2; exit 1"
    error = failure(host.settings(tmp_path))
    assert isinstance(error, SudoRefused)
    assert "sudo refuses: sudo: no; it has to let ubuntu" in str(error)


@pytest.mark.long
def test_a_silent_login_shell_and_a_silent_sudo_differ(host: LoopbackHost, tmp_path: Path) -> None:
    settings = host.settings(tmp_path, timeouts=SHORT)
    host.login = "sleep 20; "
    error = failure(settings, timeout=SHORT.silence)
    assert "the login shell of ubuntu ran no command within 2 s (ssh: timeouts: silence); do its start" in str(error)
    host.login, host.sudo = "", "sleep 20"
    error = failure(settings, timeout=SHORT.silence)
    assert "sudo there started no shell within 2 s (ssh: timeouts: silence); does it wait for a name server?" in str(
        error
    )


def test_a_host_without_sudo(host: LoopbackHost, tmp_path: Path) -> None:
    host.sudo = "echo 'sh: 1: exec: sudo: not found' >&2; exit 127"
    error = failure(host.settings(tmp_path))
    assert type(error) is NotBegun
    assert 'sudo cannot be run there: "sh: 1: exec: sudo: not found"; install it' in str(error)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (TimeoutError(), "no answer on port 22 within 1 s (ssh: timeouts: connect); is it up, and does no firewall"),
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), "port 22 is closed (Connection refused); does sshd run there"),
        (OSError(errno.EHOSTUNREACH, ""), "there is no way to it (No route to host); is it up, and on this network?"),
        (OSError(errno.EMFILE, ""), "no connection to port 22 (Too many open files)"),
    ],
)
def test_no_tcp(error: OSError, why: str) -> None:
    assert causes.no_tcp(SSHSettings(timeouts=SHORT), error).startswith(why)


def test_a_deadline_is_named_by_its_setting() -> None:
    usual = Timeouts()
    assert [causes.limit(seconds, usual) for seconds in (usual.connect, usual.read_only, usual.change, 7.5)] == [
        "5 s (ssh: timeouts: connect)",
        "10 s (ssh: timeouts: silence)",
        "60 s (ssh: timeouts: change)",
        "7.5 s",
    ]
    assert replace(usual, connect=30).read_only == 60

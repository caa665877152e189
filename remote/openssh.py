"""Copies of files to hosts by OpenSSH's client, one connection each: building packets in Python takes far longer."""

from __future__ import annotations

import os
import re
import select
import stat
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from math import ceil
from pathlib import Path

from core.errors import CommandFailed, HostUnreachable, Refused, last_line
from core.inventory import SSHSettings
from remote import causes
from remote.images import HEADER_BYTES, fault_of
from remote.plan import CHANGE_DEADLINE_SECONDS, SLOWEST_COPY, Step, Upload
from remote.transcript import Outcome, UploadProgress, UploadWanted
from remote.upload import IS_THERE, Content, UploadOutput, take_in

_FAILED = 255
"""The exit status of ssh(1) where ssh or the connection failed."""

_TURNED_AWAY = "kex_exchange_identification"
"""Part of ssh's message where sshd hung up before its greeting, as sshd does with some of many clients (MaxStartups).
"""

_READ_PROGRAM = "exec sh -s"
"""The command for the login shell of the host, whichever shell that is."""

_SOON_SECONDS = 0.1
_BLOCK = 1 << 16
_PROGRESS_BYTES = 1 << 20
_SAID_BYTES = 1 << 16
"""Maximum length of the program's error output, of which the end is kept: its last line is quoted."""


_run = subprocess.Popen


class Copy:
    """A file on its way to a host.

    After `transfer` has ended, `status` is that of the program on the host, and `complaint` its last line. `transfer`
    yields the number of bytes sent, now and then; leaving it early ends the connection. It raises `Refused` when the
    file cannot be read here, and `HostUnreachable` when the host is lost or silent for `timeout` seconds. It raises the
    same when the copy exceeds its `deadline` and the time that a slow line needs for its size.
    """

    def __init__(
        self,
        address: str,
        settings: SSHSettings,
        upload: Upload,
        timeout: float,
        deadline: float = CHANGE_DEADLINE_SECONDS,
    ) -> None:
        self._address = address
        self._settings = settings
        self._upload = upload
        self._timeout = timeout
        self._deadline = deadline
        self._ends = 0.0
        self.size = 0
        self.status = 0
        self.complaint = ""

    def transfer(self) -> Generator[int, None, None]:
        """Copy the file, and yield the number of bytes sent so far."""
        with closing(Content(self._upload.source)) as content:
            self.size = content.size
            if self._upload.is_image and (fault := fault_of(self._upload.source, content.beginning(HEADER_BYTES))):
                raise Refused(fault)
            self._deadline += self.size / SLOWEST_COPY
            self._ends = time.monotonic() + self._deadline
            deadline = time.monotonic() + self._settings.timeouts.connect
            while (yield from self._attempt(content, UploadOutput())):
                if time.monotonic() > deadline:
                    raise HostUnreachable(self._address, self.complaint)
                time.sleep(_SOON_SECONDS)

    def _attempt(self, content: Content, words: UploadOutput) -> Generator[int, None, bool]:
        """Make one attempt; return whether sshd hung up before any output, so that another attempt may succeed."""
        said = bytearray()
        program = take_in(self._upload, content.size, words.nonce).encode()
        with _client([*client(self._address, self._settings, self._timeout), _READ_PROGRAM]) as process:
            assert process.stdin  # noqa: S101  (for the type checker: it is a pipe)
            with suppress(BrokenPipeError):  # it has ended already, and its error output says why
                process.stdin.write(program)
            yield from self._exchange(process, content, words, said)
            try:
                self.status = process.wait(self._timeout)
            except subprocess.TimeoutExpired:
                raise self._silent(self._timeout) from None
        text = said.decode(errors="replace")
        if self.status != _FAILED and self.status >= 0:
            self.complaint = last_line(text) or f"it ended with status {self.status}"
            return False
        self.complaint = self._reason("" if words.wants_file else text)
        if not words.wants_file and _TURNED_AWAY in text:
            return True
        raise HostUnreachable(self._address, self.complaint, begun=words.wants_file)

    def _reason(self, said: str) -> str:
        """Return the cause of a failed connection, from ssh's messages."""
        key, user, known_hosts = self._settings.key_file, self._settings.user, self._settings.known_hosts
        last = last_line(said).rstrip(".")
        if unread := re.search(r'^Load key ".*": (.+?)\s*$', said, re.MULTILINE):
            return f"ssh does not take the SSH key {key} ({unread[1]}): is it whole, and open to its owner only?"
        if "Permission denied" in last:
            other = f"; is {key}.pub of another key?" if Path(f"{key}.pub").expanduser().exists() else ""
            return f"it refuses user {user} with the key {key}{other}"
        if "Host key verification failed" in last:
            found = re.search(r"^Offending .* key in .*:(\d+)", said, re.MULTILINE)
            line = f", line {found[1]}" if found else ""
            return f"its host key is not the one in {known_hosts}{line}; if it was reinstalled, remove that line"
        return last or "the connection was lost, or it hangs"

    def _exchange(
        self, process: subprocess.Popen[bytes], content: Content, words: UploadOutput, said: bytearray
    ) -> Iterator[int]:
        """Serve the three streams side by side until both outputs end; any of them could block the others."""
        assert process.stdin  # noqa: S101  (for the type checker: all three are pipes)
        assert process.stdout  # noqa: S101
        assert process.stderr  # noqa: S101
        stdin, stdout, stderr = (stream.fileno() for stream in (process.stdin, process.stdout, process.stderr))
        os.set_blocking(stdin, False)
        poll, open_streams, reported = select.poll(), {stdout, stderr}, 0
        for stream in open_streams:
            poll.register(stream, select.POLLIN)
        for stream in self._ready(poll, open_streams, words):
            if stream == stdin:
                if not content.feed(stdin):
                    poll.unregister(stdin)
                    process.stdin.close()
                if content.sent - reported >= _PROGRESS_BYTES or content.sent == content.size:
                    reported = content.sent
                    yield reported
            elif not (piece := os.read(stream, _BLOCK)):
                poll.unregister(stream)
                open_streams.discard(stream)
            elif stream == stderr:
                said += piece
                del said[:-_SAID_BYTES]
            else:
                words.feed(piece)
                if words.wants_file and not process.stdin.closed:
                    poll.register(stdin, select.POLLOUT)
                yield content.sent

    def _ready(self, poll: select.poll, open_streams: set[int], words: UploadOutput) -> Iterator[int]:
        """Yield the streams that are ready, as long as an output stream is open."""
        since = time.monotonic()
        while open_streams:
            if time.monotonic() > self._ends:
                why = f"it had not taken the file within {self._deadline:.0f} s; see what keeps it or its network busy"
                raise HostUnreachable(self._address, why, begun=True)
            for stream, _ in poll.poll(200):
                yield stream
                since = time.monotonic()  # the caller may have taken time, too
            # The program on the host prints a line at its start, and one each second while it waits.
            timeout = self._timeout if words.has_begun else min(self._timeout, self._settings.timeouts.read_only)
            if time.monotonic() - since > timeout:
                raise self._silent(timeout)

    def _silent(self, seconds: float) -> HostUnreachable:
        return HostUnreachable(self._address, causes.silent_batch(self._settings, seconds), begun=True)


def bring(
    address: str, settings: SSHSettings, step: Step, wanted: UploadWanted, timeout: float, deadline: float
) -> Iterator[Outcome | UploadProgress]:
    """Copy the file of an upload that a batch wants."""
    upload = step.do[wanted.action]
    assert isinstance(upload, Upload)  # noqa: S101  (for the type checker: only uploads are ever wanted)
    copy = Copy(address, settings, upload, timeout, deadline)
    with closing(copy.transfer()) as transfer:
        for done in transfer:
            yield UploadProgress(wanted.step, wanted.action, done, copy.size)
    if copy.status not in {0, IS_THERE}:
        why = f"cannot copy {upload.source} to {upload.target}: {copy.complaint}"
        raise CommandFailed(address, step.title, ("copy", upload.target), copy.status, why)
    yield Outcome(wanted.step, wanted.action, None if copy.status else 0)


def client(address: str, settings: SSHSettings, timeout: float) -> list[str]:
    """Return the beginning of the client's argv, up to the command: same key, user and known hosts, no questions.

    The client gives up a host that is silent for `timeout` seconds.
    """
    known_hosts, key = (_quoted(Path(name).expanduser()) for name in (settings.known_hosts, settings.key_file))
    options = (
        *("BatchMode=yes", "LogLevel=ERROR", "ControlPath=none", "ClearAllForwardings=yes", "Compression=no"),
        *(f"IdentityFile={key}", "IdentitiesOnly=yes", "IdentityAgent=none", "UpdateHostKeys=no", "HashKnownHosts=no"),
        *(f"UserKnownHostsFile={known_hosts}", "GlobalKnownHostsFile=/dev/null", "CheckHostIP=no"),
        f"StrictHostKeyChecking={'accept-new' if settings.host_keys == 'accept-new' else 'yes'}",
        *(
            f"ConnectTimeout={ceil(settings.timeouts.connect)}",
            "ServerAliveInterval=3",
            f"ServerAliveCountMax={ceil(timeout / 3)}",
        ),
        # Plain host keys only, as with paramiko: remote/host_keys.py judges both.
        "HostKeyAlgorithms=-*-cert-v01@openssh.com",
        "Ciphers=^aes128-gcm@openssh.com",
    )
    words = (word for option in options for word in ("-o", option))
    return ["ssh", "-F", "none", "-T", *words, "-p", str(settings.port), f"{settings.user}@{address}"]


def key_fault(found: os.stat_result, key_file: str) -> str:
    """Return the reason why ssh(1) would refuse a key file, or "": other users may have no rights on it."""
    if found.st_uid != os.getuid() or not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return ""
    mode = stat.S_IMODE(found.st_mode)
    return f"the SSH key {key_file} is open to others (mode {mode:04o}), so ssh refuses it: chmod 600 {key_file}"


def _quoted(path: Path) -> str:
    """Return a path for ssh_config(5), where `%` begins a token and quotes allow blanks."""
    name = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{name}"'


@contextmanager
def _client(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the client in its own session, so that Ctrl-C goes to the menu; it has ended when the body has."""
    pipe = subprocess.PIPE
    try:
        process = _run(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True)
    except OSError as error:
        raise Refused(f"ssh, which copies images, cannot be run on this machine: {error.strerror}") from error
    try:
        yield process
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):
                if stream:
                    stream.close()
        process.wait()

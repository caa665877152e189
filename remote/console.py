"""A guest's serial console: one visitor at a time, by a lock on the worker that says who it is and since when.

QEMU serves one client of the console's socket. A second one would wait unseen, and its keys would be run in the shell
of the first one as soon as that one leaves. So a visitor is joined with the socket only under the lock, is told that
they are in only when QEMU has accepted the connection, and everything there ends with the connection of the manager.
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from core.errors import CloudError, HostUnreachable, InvalidAnswer, last_line
from shell import daemon

JOIN_SECONDS = 20.0
"""Timeout for the worker's answer; taking a console over takes it 6 s where the old visitor does not end."""

SEND_SECONDS = 10.0
"""Timeout for a guest that takes no keys: the network's and the worker's buffers are full then."""

LEAVE_SECONDS = 2.0
"""Timeout for the worker to let the console go, so that the next visitor finds it free."""

LOOK_SECONDS = 5
SILENT_SECONDS = 15
"""The worker looks so often, and ends the visit when nothing came from the manager for so long. Every manager says
something each 3 s (`remote.ssh`)."""

_CHUNK = 16_384
_SMALL = 256
_LONGEST_WORDS = 4096

# In /proc/net/unix (unix(7)) a socket's state is 01 for one that listens, 02 for a connection that waits to be accepted
# and 03 for one that was. The lock is held by socat, too: whatever of the two lives, the console is taken. The one that
# watches gives all of that up first: dash would keep it open beside redirections, and loses a signal that comes early.
_SCRIPT = (
    r"""{
# usage: sh -s -- SOCKET LOCK PIDFILE MARK USER VISIT VISIT-TO-END LOOK-SECONDS SILENT-SECONDS
socket=$1 lock=$2 pidfile=$3 mark=$4 user=$5 visit=$6 leaving=$7 pause=$8 limit=$9
socat= taken= watcher=
umask 077
"""
    + daemon.RUNS
    + r"""
say() { printf '\n%s %s\n' "$visit" "$*"; }
tell() { say "$@" >&2; }
states() { awk -v socket="$socket" '$8 == socket { print $6 }' /proc/net/unix; }
end_socat() { [ -z "$socat" ] || kill -KILL "$socat" 2>/dev/null; }
refuse() { end_socat; say "$@"; exit; }
note() { { printf '%s ' "$user" "$visit" "$since" "$@"; echo; } >"$lock"; }
holder() {
  since=
  read -r name other since pids <"$lock" && [ "$since" ] && [ -d "/proc/${pids%% *}" ]
}
evict() {
  printf '%s %s\n' "$user" "$(date +%s)" >>"$lock"
  for signal in TERM KILL; do
    for pid in $pids; do
      ! grep -qzxF -e "$other" -e "UNIX-CONNECT:$socket" "/proc/$pid/cmdline" || kill -"$signal" "$pid"
    done
    ! flock -w 3 9 || return 0
  done
  return 1
}
connection() {
  case $2 in *:*) set -- "$1" "[$2]" "$3";; esac
  ss -Htni "dst $2 and dport = :$3 and sport = :$1"
}
manager_lives() {
  seen=$(connection $peer 2>/dev/null)
  case $seen in
  '') [ "$unseen" ];;
  *' lastrcv:'*)
    silent=${seen##* lastrcv:}; silent=${silent%%[!0-9]*}
    [ "$silent" -lt $((limit * 1000)) ];;
  esac
}
watch() {
  while sleep "$pause" && [ -d /proc/$$ ]; do
    manager_lives || break
  done
  end_socat
}
trap 'taken=yes; end_socat' TERM

runs "$pidfile" "$mark" || refuse off
( : >>"$lock" ) 2>/dev/null || refuse unwritable
exec 9>>"$lock"
tries=0
until flock -n 9; do
  if holder 2>/dev/null; then
    [ "$other" = "$leaving" ] || refuse busy "$name" "$since" "$other"
    evict 2>/dev/null || refuse stuck
    break
  fi
  tries=$((tries + 1))
  [ $tries -lt 20 ] || refuse busy - 0 -
  sleep 0.1
done
since=$(date +%s) tries=0
note $$ 2>/dev/null
while states | grep -qv 01; do
  tries=$((tries + 1))
  [ $tries -lt 20 ] || refuse foreign
  sleep 0.1
done
exec 3<&0
socat -t 0.05 - "UNIX-CONNECT:$socket" <&3 3<&- 2>/dev/null &
socat=$! tries=0
note $$ $socat 2>/dev/null
until states | grep -q 03; do
  tries=$((tries + 1))
  [ -z "$taken" ] || refuse busy - 0 -
  [ -e "/proc/$socat/exe" ] || refuse off
  [ $tries -lt 60 ] || refuse hung
  sleep 0.05
done
set -- $SSH_CONNECTION
peer="$4 $1 $2" unseen=
[ "$(connection $peer 2>/dev/null)" ] || unseen=yes
say ready
(exec </dev/null >/dev/null 2>&1 3<&- 9>&-; watch) &
watcher=$!
wait "$socat"
end_socat
kill "$watcher" 2>/dev/null
[ -z "$taken" ] || { read -r mine; read -r name since; } <"$lock"
: >"$lock"
exec 9>&-
[ -z "$taken" ] || { tell taken "$name" "$since"; exit; }
tries=0
until states | grep -q 01 || ! runs "$pidfile" "$mark" || [ $tries -ge 10 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
if runs "$pidfile" "$mark"; then tell closed; else tell off; fi
exit
}
"""
)


class Answer(Enum):
    """The answer of a worker to a visitor."""

    READY = "ready"
    BUSY = "busy"
    """Another visitor is there."""
    OFF = "off"
    """QEMU does not run."""
    HUNG = "hung"
    """QEMU runs and accepts no connection."""
    FOREIGN = "foreign"
    """A program that holds no lock is connected."""
    STUCK = "stuck"
    """The other visitor's program does not end."""
    UNWRITABLE = "unwritable"
    """The lock cannot be made: the disk is full, or mounted read-only."""


class Ending(Enum):
    """Why a visit ended at the worker."""

    TAKEN = "taken"
    OFF = "off"
    CLOSED = "closed"
    LOST = "lost"
    """The connection of the manager, so nobody could say more."""


@dataclass(frozen=True)
class Holder:
    """The visitor whom a console has; `since` in seconds of the worker's clock, 0 where the lock does not say."""

    user: str
    since: int
    visit: str = ""


class NotJoined(CloudError):
    """The worker let the visitor not in; for the sentence that a user gets see `lifecycle.consoles`."""

    def __init__(self, answer: Answer, holder: Holder | None = None) -> None:
        self.answer = answer
        self.holder = holder
        super().__init__(f"the console is {answer.value}")


class ConsoleSession(Protocol):
    """Bytes both ways, until one side leaves."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to receive."""

    def recv(self, nbytes: int, /) -> bytes:
        """Return what the guest wrote, nothing when the console ended; `BlockingIOError` where there was nothing."""

    def send(self, s: bytes, /) -> int:
        """Type to the guest; return how many bytes were taken."""

    def close(self) -> None:
        """Leave the console; the guest goes on."""


class Explained(ConsoleSession, Protocol):
    """A console that also says why it ended."""

    def why_closed(self) -> str:
        """Return a sentence that says why the console ended by itself, or nothing."""


class Channel(Protocol):
    """Standard streams of a program on a host; paramiko's channel is one."""

    @property
    def eof_received(self) -> int:
        """Return whether the output has ended."""

    @property
    def closed(self) -> bool:
        """Return whether the program has ended, or the connection."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to receive."""

    def settimeout(self, timeout: float | None, /) -> None:
        """Bound every wait below, in seconds."""

    def recv(self, nbytes: int, /) -> bytes:
        """Wait for output; nothing at its end."""

    def recv_ready(self) -> bool:
        """Return whether there is output."""

    def recv_stderr(self, nbytes: int, /) -> bytes:
        """Wait for the other output; nothing at its end."""

    def recv_stderr_ready(self) -> bool:
        """Return whether there is some of the other output."""

    def send(self, s: bytes, /) -> int:
        """Send input; return how many bytes were taken."""

    def shutdown_write(self) -> None:
        """End the input."""

    def close(self) -> None:
        """End the program."""


@dataclass(frozen=True)
class Visit:
    """A wish to use a console: which one, whose it is, and which visit it may end for that, if any."""

    socket: str
    lock: str
    pid_file: str
    mark: str
    user: str
    ends: str = "-"
    name: str = field(default_factory=lambda: secrets.token_hex(12))
    look_seconds: float = LOOK_SECONDS
    silent_seconds: int = SILENT_SECONDS

    @property
    def argv(self) -> tuple[str, ...]:
        """The program on the worker, run as the SSH user; it reads `script` first."""
        files = (self.socket, self.lock, self.pid_file, self.mark)
        seconds = (f"{self.look_seconds:g}", str(self.silent_seconds))
        return ("sh", "-s", "--", *files, self.user, self.name, self.ends, *seconds)

    @property
    def script(self) -> str:
        """Return the input of the program before any key."""
        return _SCRIPT


class Console:
    """The visit that a worker has let in."""

    def __init__(self, channel: Channel, visit: Visit, host: str, first: bytes) -> None:
        self._channel = channel
        self._visit = visit
        self._host = host
        self._first = first
        self._words = b""
        channel.settimeout(SEND_SECONDS)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to receive."""
        return self._channel.fileno()

    def recv(self, nbytes: int, /) -> bytes:
        """Return what the guest wrote, nothing when the console ended; `BlockingIOError` where there was nothing."""
        if self._first:
            first, self._first = self._first, b""
            return first
        self._hear_words()
        if not self._channel.recv_ready() and not self._channel.eof_received and not self._channel.closed:
            raise BlockingIOError
        return self._channel.recv(nbytes)

    def send(self, s: bytes, /) -> int:
        """Type to the guest; return how many bytes were taken."""
        return self._channel.send(s)

    def close(self) -> None:
        """Leave the console, and wait until the worker has let it go."""
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()
            self._listen(LEAVE_SECONDS)
        self._channel.close()

    def ending(self) -> tuple[Ending, Holder | None]:
        """Return why the worker ended the visit, and the user who took it over."""
        with suppress(OSError, EOFError):
            self._listen(LEAVE_SECONDS)
        self._hear_words()
        found = re.search(rf"{self._visit.name} (taken|off|closed)(?: (\S+) (\d+))? *\n", self._words.decode("latin-1"))
        if not found:
            return Ending.LOST, None
        return Ending(found[1]), _holder(found[2], found[3]) if found[2] else None

    def _listen(self, seconds: float) -> None:
        """Discard what the guest says until the worker ends it."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._channel.settimeout(left)
            if not self._channel.recv(_CHUNK):
                return

    def _hear_words(self) -> None:
        """Take the worker's own words, which no guest can write, from the stream for errors."""
        while self._channel.recv_stderr_ready() and (piece := self._channel.recv_stderr(_SMALL)):
            self._words = (self._words + piece)[-_LONGEST_WORDS:]


def join(channel: Channel, visit: Visit, host: str) -> Console:
    """Return the console once QEMU has accepted the visitor; raise `NotJoined` where it did not."""
    begin = f"\n{visit.name} ".encode()
    heard, deadline = b"\n", time.monotonic() + JOIN_SECONDS
    try:
        while (left := deadline - time.monotonic()) > 0:
            before, found, rest = heard.rpartition(begin)
            if found and b"\n" in rest:
                words, _, first = rest.partition(b"\n")
                return _joined(channel, visit, host, words.decode("latin-1"), first)
            # A login shell may write as well, and a guest in the moment before: only the end is kept.
            heard = (before[-_SMALL:] + found + rest)[-_LONGEST_WORDS:]
            channel.settimeout(left)
            piece = channel.recv(_SMALL)
            if not piece:
                raise InvalidAnswer(host, f"the console could not be opened: {_last_words(channel, heard)}")
            heard += piece
    except (OSError, EOFError) as error:
        channel.close()
        raise HostUnreachable(host, f"it did not open the console within {JOIN_SECONDS:g} s; try again") from error
    except CloudError:
        channel.close()
        raise
    channel.close()
    raise HostUnreachable(host, f"it did not open the console within {JOIN_SECONDS:g} s; try again")


def _joined(channel: Channel, visit: Visit, host: str, words: str, first: bytes) -> Console:
    kind, *rest = words.split(" ")
    try:
        answer = Answer(kind)
        holder = _holder(*rest) if answer is Answer.BUSY else None
    except (ValueError, TypeError) as error:
        raise InvalidAnswer(host, "the console could not be opened: its answer makes no sense") from error
    if answer is not Answer.READY:
        raise NotJoined(answer, holder)
    return Console(channel, visit, host, first)


def _holder(user: str, since: str, visit: str = "") -> Holder:
    """The holder as a worker names them; `ValueError` where that is no user, time or visit of ours."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", user) or not re.fullmatch(r"\d{1,12}", since):
        raise ValueError("no holder")
    if not re.fullmatch(r"[0-9a-f]{24}|-?", visit):
        raise ValueError("no visit")
    return Holder("" if user == "-" else user, int(since), visit.strip("-"))


def _last_words(channel: Channel, heard: bytes) -> str:
    words = b""
    with suppress(OSError, EOFError):
        words = channel.recv_stderr(_LONGEST_WORDS)
    said = last_line(words.decode("utf-8", "replace")) or last_line(heard.decode("utf-8", "replace"))
    return said or "its shell ended with no output"

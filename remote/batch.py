"""Steps of one host as a single shell script, and the script's two output streams read back per command.

The script is one function that is called on its last line: a shell runs nothing of it before all of it is there, so a
connection lost half-way through sending changes nothing. After each command it writes a marker with the exit status on
both streams, so that every command keeps its own status, stdout and stderr.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from remote.plan import Action, Command, Step, Upload, shell

LOCK = "/run/openvswitch"
"""A folder that is there on every host of ours: locked while a step that slices share is done, it leaves no file."""

LOCK_SECONDS = 50
"""How long a batch waits for others; less than the silence that is endured of it."""

SLICE_LOCK = "/run/cloud-repositorio-{}.lock"
"""What a batch with a lock holds; the file is gone when the last of them has ended."""

_NO_LOCK = 'echo "another slice keeps Open vSwitch or this host busy" >&2'

# Whoever holds the lock removes its file, so once the lock is ours the file is looked at again: it may be another one
# by then. No command inherits the descriptor, which a daemon would hold for ever; the shell holds it until its command
# ended. A manager that dies closes the batch's streams: the next mark fails, and the batch ends there in good order.
_CLAIM = """claim() {
read up _ </proc/uptime; end=$((${up%.*} + $2))
while { command exec 8>>"$1"; } 2>/dev/null; do
  read up _ </proc/uptime; left=$((end - ${up%.*}))
  [ $left -gt 0 ] && flock -w $left 8 || { echo "$3" >&2; return 1; }
  [ "$1" -ef /proc/self/fd/8 ] && return
done
echo "$1 cannot be made; is /run full?" >&2; return 1
}"""
_AT_WORK = "an earlier command of this slice is still at work there; try again in a minute"
_BUSY = "busy"

_AS_USER = 'setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --init-groups -- '
_SKIPPED = "skipped"
_WANTED = "wanted"


@dataclass(frozen=True)
class Outcome:
    """How the action at position (`step`, `action`) ended; `status` None: skipped, its guard succeeded."""

    step: int
    action: int
    status: int | None
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class Progress:
    """An upload under way, in bytes."""

    step: int
    action: int
    done: int
    total: int


@dataclass(frozen=True)
class UploadWanted:
    """The batch stopped before an upload whose guard failed; the rest of it is to be sent after the upload."""

    step: int
    action: int


class Batch:
    """The actions of `steps` that a host runs in one go.

    `start` is the (step, action) to begin with. The batch ends at the first failure, unless `keep_going`. A host runs
    batches with the same `lock` one at a time.
    """

    def __init__(
        self, steps: Sequence[Step], keep_going: bool = False, start: tuple[int, int] = (0, 0), lock: str = ""
    ) -> None:
        self._steps = steps
        self._keep_going = keep_going
        self._lock = lock
        self._places = [
            (number, index)
            for number, step in enumerate(steps)
            for index in range(len(step.do))
            if (number, index) >= start
        ]

    def script(self, nonce: str) -> str:
        """The batch for `sh -s`, run by sudo in the SSH user's home; `nonce` sets its markers apart from output."""
        lines = [
            f'mark() {{ printf \'\\n{nonce} %s %s\\n\' "$1" "$2"; printf \'\\n{nonce} %s %s\\n\' "$1" "$2" >&2; }}',
            "batch() {",
            "umask 022; export LC_ALL=C",
            *self._claim(),
            "mark 0 begin",
        ]
        for number, (step, action) in enumerate(self._places, start=1):
            lines.append(self._entry(number, self._steps[step], action, nonce))
        return "\n".join([*lines, "}", "batch </dev/null", "exit 0", ""])

    def _claim(self) -> list[str]:
        if not self._lock:
            return []
        lock = shell((SLICE_LOCK.format(self._lock),))
        return [
            _CLAIM,
            f"claim {lock} {LOCK_SECONDS} {shell((_AT_WORK,))} || {{ mark 0 {_BUSY}; exit 0; }}",
            f"trap 'rm -f {lock}' EXIT; trap 'exit 0' HUP PIPE TERM",
        ]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to run."""
        return not self._places

    def place(self, number: int) -> tuple[int, int]:
        """The (step, action) that marker `number` stands for."""
        return self._places[number - 1]

    def _entry(self, number: int, step: Step, index: int, nonce: str) -> str:
        action = step.do[index]
        lines = []
        if step.lock and index == 0:
            lines.append(f"{{ command exec 9<{LOCK} && flock -w {LOCK_SECONDS} 9; }} || {{ {_NO_LOCK}; exit 1; }}")
        run = _run(action, nonce)
        done = f"mark {number} $status"
        if not self._keep_going:
            done += f"; case $status in {'|'.join(map(str, _accepted(action)))}) ;; *) exit 0;; esac"
        if isinstance(action, Upload):
            run, done = "", f"mark {number} {_WANTED}; exit 0"
        if action.unless:
            guard = f"{_as_user(action)}{shell(action.unless)} >/dev/null 2>&1"
            lines.append(f"if {guard}; then mark {number} {_SKIPPED}; else\n{run}{done}\nfi")
        else:
            lines.append(f"{run}{done}")
        if step.lock and index == len(step.do) - 1:
            lines.append("exec 9<&-")
        return "\n".join(lines)


class Transcript:
    """The output of a batch, fed in pieces as it arrives."""

    def __init__(self, batch: Batch, nonce: str) -> None:
        self._batch = batch
        self._stdout = _Stream(nonce)
        self._stderr = _Stream(nonce)
        self._marks: dict[int, tuple[str, str]] = {}
        self.begun = False
        self._busy = False

    def stdout(self, data: bytes) -> None:
        """A piece of standard output."""
        for number, status, text in self._stdout.feed(data):
            self._busy = status == _BUSY
            self.begun = not self._busy
            if number:
                self._marks[number] = (status, text)

    def stderr(self, data: bytes) -> None:
        """A piece of standard error."""
        self._stderr.texts.update({number: text for number, _, text in self._stderr.feed(data)})

    @property
    def busy(self) -> str:
        """Why the batch did not get its lock, in words; empty if it did."""
        return self._stderr.texts.get(0, "it is busy") if self._busy else ""

    @property
    def rest(self) -> str:
        """What came on standard error behind the last marker: the words of `sudo`, when it refuses."""
        return self._stderr.rest

    def finished(self) -> Iterator[Outcome | UploadWanted]:
        """The commands that ended since the last call; both streams have passed their marker."""
        for number in sorted(self._marks.keys() & self._stderr.texts.keys()):
            status, stdout = self._marks.pop(number)
            step, action = self._batch.place(number)
            if status == _WANTED:
                yield UploadWanted(step, action)
            else:
                code = None if status == _SKIPPED else int(status)
                yield Outcome(step, action, code, stdout, self._stderr.texts.pop(number))


class _Stream:
    """One output stream, cut at the markers."""

    def __init__(self, nonce: str) -> None:
        self._marker = re.compile(rb"\n%s (\d+) (\w+)\n" % nonce.encode())
        self._buffer = b""
        self.texts: dict[int, str] = {}

    def feed(self, data: bytes) -> Iterator[tuple[int, str, str]]:
        """The markers that are complete now: number, status, and the text before them."""
        self._buffer += data
        while found := self._marker.search(self._buffer):
            text = self._buffer[: found.start()].decode(errors="replace")
            self._buffer = self._buffer[found.end() :]
            yield int(found[1]), found[2].decode(), text

    @property
    def rest(self) -> str:
        return self._buffer.decode(errors="replace")


def _accepted(action: Action) -> tuple[int, ...]:
    return action.ok if isinstance(action, Command) else (0,)


def _as_user(action: Action) -> str:
    return _AS_USER if action.as_user else ""


def _run(action: Action, nonce: str) -> str:
    """The lines that run a command and keep its status; what it leaves running must not inherit the locks."""
    if isinstance(action, Upload):
        return ""
    line = f"{_as_user(action)}{shell(action.argv)} 8<&- 9<&-"
    if action.stdin:
        text = action.stdin if action.stdin.endswith("\n") else f"{action.stdin}\n"
        line = f"{line} <<'{nonce}'\n{text}{nonce}"
    return f"{line}\nstatus=$?\n"

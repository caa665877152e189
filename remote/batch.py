"""The steps of one host as a single shell script, which root's shell reads.

Commands with `as_user` run as the SSH user; the others run as root. `remote/transcript.py` parses the two output
streams.

The script consists of functions and texts, and a last line that runs them. A shell runs nothing before that line has
arrived, so a connection lost while the script is sent changes nothing. After each command the script writes a marker
with the exit status on both streams: every command keeps its own status, stdout and stderr. A last marker ends the
batch.

Processes cost most of the time. Therefore root's `sh -c TEXT` is a fork of the shell that reads the batch. Successive
commands of the SSH user share one shell, and guards like `test` are built into the shell. Each text is sent once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from remote.plan import NO_FENCE, TIMEOUT_SECONDS, Action, Command, Step, Upload, script_names, shell
from remote.root import USERS_SHELL
from shell.scripts import functions, parts

LOCK = "/run/openvswitch"
"""A folder on every host, locked during steps on objects that slices share; locking it leaves no file behind."""

LOCK_SHARE = 5 / 6
"""The share of the timeout that a batch waits for its lock, so that its refusal still arrives in time."""

SLICE_LOCK = "/run/cloud-repositorio-{}.lock"
"""The lock file of a batch with a lock; the last holder removes it."""

FENCE = "/run/cloud-repositorio-{}.fence"
"""The file with the number of the newest claim that changed this host; it stays until the host's next boot."""

_NO_SWITCH = 'echo "Open vSwitch does not run there; start it: systemctl start openvswitch-switch" >&2'
_NO_LOCK = 'echo "another slice keeps Open vSwitch or this host busy" >&2'

_LATE = "another manager has begun to change the same since"
_AT_WORK = "an earlier command of this slice is still at work there; try again in a minute"

IDLE_SECONDS = 20
"""Seconds that a shell waits for the next batch: sshd may learn only after hours that its manager is gone."""

# One extra byte precedes each batch: sh(1) has no `read` with a timeout, and dd(1) takes exactly that byte. The wait
# is on the line of the last mark, because a shell may read only to the end of the line that it runs. A wait on a line
# of its own would arrive with the next batch, and dd would take a byte from the middle of that batch.
_AWAIT_NEXT = "; timeout {} dd bs=1 count=1 >/dev/null 2>&1 || exit"

GO_FIRST = "{ echo -10 >/proc/self/autogroup; } 2>/dev/null"
"""Raises the priority of the cloud's commands over guests that use all CPUs of their host.

It holds for the shell's session; daemons in their own session, like QEMU, keep the normal priority (sched(7), the
autogroup feature). It has no effect where the kernel lacks autogroups or cgroups divide the CPUs.
"""

BUSY, OLD, SKIPPED, WANTED = "busy", "old", "skipped", "wanted"
"""Words in a marker instead of a status: the lock is not free, the fence is too low, a guard succeeded, an upload is
next."""

STOPPED = 100
"""The status of a shell that stops early; its last marker says why."""

_EVERY_STATUS = frozenset(range(256))

_Entry = str | tuple[int, Action]
"""A line for root's shell, or an action with the number of its marker."""


class Batch:
    """The actions of `steps` that a host runs in one go.

    `start` is the first (step, action). The batch ends at the first failure, unless `keep_going`. A host runs batches
    with the same `lock` one at a time, and refuses one with a lower `fence` than an earlier one had. `timeout` is the
    maximum silence of the host in seconds.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        keep_going: bool = False,
        start: tuple[int, int] = (0, 0),
        lock: str = "",
        timeout: float = TIMEOUT_SECONDS,
        fence: int = NO_FENCE,
    ) -> None:
        self._steps = steps
        self._keep_going = keep_going
        self._lock = lock
        self._fence = fence
        self._wait = max(int(timeout * LOCK_SHARE), 1)
        self._places = [
            (number, index)
            for number, step in enumerate(steps)
            for index in range(len(step.do))
            if (number, index) >= start
        ]

    def script(self, nonce: str) -> str:
        """Return the batch for `sh -s`, run by sudo in the SSH user's home; `nonce` marks its markers."""
        groups = [(as_user, list(group)) for as_user, group in groupby(self._entries(), _is_users)]
        roots = (entry for as_user, group in groups for entry in group if not as_user)
        root = _BatchPart(nonce, roots, self._keep_going, without=" 8<&- 9<&-")
        # A disk may have been mounted on the home since the shell was opened, so the path is resolved again.
        lines = ['umask 022; export LC_ALL=C; cd "$PWD"', GO_FIRST, *self._claim(), "mark 0 begin"]
        for as_user, group in groups:
            lines += self._as_user(group, nonce) if as_user else map(root.line, group)
        lines = [
            *root.definitions,
            *_function("batch", lines),
            "(batch) </dev/null",
            f"mark {self.end} $? '0 {STOPPED}'{_AWAIT_NEXT.format(IDLE_SECONDS)}",
        ]
        return "\n".join(["", *lines, ""])

    def _entries(self) -> Iterator[_Entry]:
        """Yield the actions in order, with the lines that take and free a step's lock."""
        for number, places in groupby(enumerate(self._places, start=1), lambda place: place[1][0]):
            step = self._steps[number]
            if step.lock:
                yield f"{{ command exec 9<{LOCK}; }} 2>/dev/null || {{ {_NO_SWITCH}; exit 1; }}"
                yield f"flock -w {self._wait} 9 || {{ {_NO_LOCK}; exit 1; }}"
            yield from ((marker, step.do[index]) for marker, (_, index) in places)
            if step.lock:
                yield "exec 9<&-"

    def _as_user(self, group: list[_Entry], nonce: str) -> list[str]:
        """Return the lines that run the entries as the user, from root's shell; no process left inherits a lock."""
        part, end = _BatchPart(nonce, group, self._keep_going), f"{nonce}-user"
        lines = [*part.definitions, *_function("part", map(part.line, group)), "part </dev/null", "exit 0"]
        return [f"{USERS_SHELL} 8<&- 9<&- <<'{end}' || exit", *lines, end]

    def _claim(self) -> list[str]:
        if not self._lock:
            return []
        lock = shell((SLICE_LOCK.format(self._lock),))
        return [
            functions("claim").rstrip(),
            f"claim {lock} {self._wait} {shell((_AT_WORK,))} || {{ mark 0 {BUSY}; exit {STOPPED}; }}",
            f"trap 'rm -f {lock}' EXIT; trap 'exit {STOPPED}' HUP PIPE TERM",
            *self._compare_fence(),
        ]

    def _compare_fence(self) -> list[str]:
        if self._fence == NO_FENCE:
            return []
        words = shell((FENCE.format(self._lock), str(self._fence), _LATE))
        return [functions("fence").rstrip(), f'fence {words} || {{ mark 0 "$refusal"; exit {STOPPED}; }}']

    @property
    def is_empty(self) -> bool:
        """Return whether the batch has no action."""
        return not self._places

    @property
    def end(self) -> int:
        """Return the number of the marker that ends the batch."""
        return len(self._places) + 1

    def place(self, number: int) -> tuple[int, int]:
        """Return the (step, action) of marker `number`."""
        return self._places[number - 1]

    def accepts(self, number: int, status: str) -> bool:
        """Return whether marker `number` of this batch can have this status."""
        if number == 0:
            return status in {"begin", BUSY, OLD}
        if 0 < number < self.end:
            step, index = self.place(number)
            action = self._steps[step].do[index]
            if status == SKIPPED:
                return bool(action.unless)
            if isinstance(action, Upload):
                return status == WANTED
        return number <= self.end and status.isdecimal() and int(status) in _EVERY_STATUS

    def stops_at(self, number: int, status: str) -> bool:
        """Return whether no further command runs after marker `number` with this status."""
        step, index = self.place(number)
        action = self._steps[step].do[index]
        if self._keep_going or status == SKIPPED:
            return False
        return isinstance(action, Upload) or int(status) not in action.ok


def echo(word: str) -> str:
    """Return the input that makes a waiting shell print `word` and wait again."""
    return f"\necho {word}{_AWAIT_NEXT.format(IDLE_SECONDS)}\n"


class _BatchPart:
    """The part of a batch that one shell runs.

    `without` follows each command, to close descriptors that it must not inherit.
    """

    def __init__(self, nonce: str, entries: Iterable[_Entry], keep_going: bool, without: str = "") -> None:
        self._nonce = nonce
        self._keep_going = keep_going
        self._without = without
        actions = [entry[1] for entry in entries if not isinstance(entry, str)]
        self._names = script_names(argv for action in actions for argv in (action.unless, _argv(action)))

    @property
    def definitions(self) -> list[str]:
        """Return the functions, and each script once as a variable."""
        uses = Counter(part for text in self._names for part in parts(text))
        shared = {part: f"PART_{number}" for number, part in enumerate((p for p in uses if uses[p] > 1), start=1)}
        return [
            f"nonce={self._nonce}",
            functions("mark", "call").rstrip(),
            *(f"{name}={shell((part,))}" for part, name in shared.items()),
            *(f"{name}={_joined(text, shared)}" for text, name in self._names.items()),
        ]

    def line(self, entry: _Entry) -> str:
        """Return the command with its guard, its input and its marker."""
        if isinstance(entry, str):
            return entry
        number, action = entry
        if isinstance(action, Upload):
            run = f"mark {number} {WANTED} || exit"
        else:
            run = f"{self._call(action.argv)}{self._without}{self._input(action)}\n{self._mark(number, action)}"
        if not action.unless:
            return run
        skip = f"if {self._call(action.unless)} >/dev/null 2>&1; then mark {number} {SKIPPED}; else"
        lines = [skip, run, "fi"]
        return "\n".join(lines)

    def _call(self, argv: tuple[str, ...]) -> str:
        line = shell(argv, self._names)
        if argv[:2] != ("sh", "-c"):
            return line
        return f"( call {line.removeprefix('sh -c ')}{'' if argv[3:] else ' sh'} )"

    def _input(self, command: Command) -> str:
        if not command.stdin:
            return ""
        text = command.stdin if command.stdin.endswith("\n") else f"{command.stdin}\n"
        return f" <<'{self._nonce}'\n{text}{self._nonce}"

    def _mark(self, number: int, command: Command) -> str:
        if self._keep_going or _EVERY_STATUS.issubset(command.ok):
            return f"mark {number} $?"
        accepted = "" if command.ok == (0,) else f" '{' '.join(map(str, command.ok))}'"
        return f"mark {number} $?{accepted} || exit"


def _joined(text: str, shared: Mapping[str, str]) -> str:
    """Return a script as a word of the shell, put together where some of its parts are variables."""
    return "".join(f'"${shared[part]}"' if part in shared else shell((part,)) for part in parts(text))


def _is_users(entry: _Entry) -> bool:
    return not isinstance(entry, str) and entry[1].as_user


def _argv(action: Action) -> tuple[str, ...]:
    return () if isinstance(action, Upload) else action.argv


def _function(name: str, lines: Iterable[str]) -> list[str]:
    return [f"{name}() {{", *lines, "}"]

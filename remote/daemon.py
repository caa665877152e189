"""Background processes on a host: known by a pid file *and* by a mark on their own command line, never by a pattern.

Each function returns an argv. The scripts are constants; what varies comes to them as positional arguments, so nothing
is ever put together to be read by a shell. `mark` is one whole argument of the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal

Argv = tuple[str, ...]
Process = tuple[str, str]
"""A pid file and a mark."""

# With a process's pid file and mark as $1 and $2: whether it runs. While a process becomes another program its command
# line is empty for a moment: one that was started just now must not be taken for one that has ended.
RUNNING = r"""{ read -r pid <"$1"; } 2>/dev/null && [ -d "/proc/${pid:-0}" ] && {
  grep -qzxF -- "$2" "/proc/$pid/cmdline" 2>/dev/null || {
    for again in 1 2 3 4 5; do
      { [ -d "/proc/$pid" ] && ! grep -qz . "/proc/$pid/cmdline" 2>/dev/null; } || break
      sleep 0.1
    done
    grep -qzxF -- "$2" "/proc/$pid/cmdline" 2>/dev/null; }; }"""

_RUNS = f"""runs() {{ {RUNNING}; }}
"""

# `end SIGNAL PIDFILE MARK ...`: all of them are told before the first is waited for.
_END = f"""{_RUNS}end() {{
  signal=$1 ending=; shift
  while [ $# -gt 0 ]; do
    ! runs "$1" "$2" || {{ kill -"$signal" "$pid"; ending="$ending $pid"; }}
    shift 2
  done
  set -- $ending
  tries=0
  while [ $# -gt 0 ]; do
    [ -d "/proc/$1" ] || {{ shift; continue; }}
    tries=$((tries + 1))
    [ $tries -ne 300 ] || kill -KILL "$@" 2>/dev/null
    [ $tries -le 600 ] || {{ echo "process $1 does not end" >&2; return 1; }}
    sleep 0.01
  done
}}
"""

_STOP = f'{_END}end "$@"'

MESSAGES_BYTES = 1 << 16
LOG_BYTES = 1 << 20
LOG_DEVICE = "/dev/fd/9"
"""Where a process that is started with a log writes it, by this name: opened anew it can be written only."""

# A program in the background holds the batch's streams open for all its life unless they are taken from it. Its pid
# file is written before the next command, so that nobody has to guess whether it has started yet.
#
# What it says is at a guest's mercy, so it goes through pipes to processes that keep the beginning, throw the rest away
# and end with the program. They never refuse: QEMU mistakes an error of its log for one of the console and stops there.
# Both ends of a pipe are open before its name goes. Where no session can be made, what is said about that still counts.
#
# The CPUs are those on which the fewest of our processes may run; their pid files are beside this one, a folder up.
_START = rf"""pidfile=$1 messages=$2 log=$3 cores=$4; shift 4
bounded() {{
  rm -f "$1.pipe" && mkfifo -m 600 "$1.pipe" && : >"$1" || return
  $session sh -c "$keep" sh "$1" "$2" <"$1.pipe" >/dev/null 2>&1 8>&- 9>&- &
}}
session=$(setsid sh -c 'true & wait $! && echo setsid' 2>/dev/null)
keep='stdbuf -o0 head -c "$2" >"$1"; exec cat'
cpus() {{
  sed -n 's/^Cpus_allowed_list:[^0-9]*//p' "/proc/$1/status" 2>/dev/null | tr , '\n' |
    while IFS=- read -r first last; do seq "$first" "${{last:-$first}}"; done
}}
used() {{
  for file in "${{pidfile%/*/*}}"/*/*.pid; do
    pid=$(cat "$file" 2>/dev/null) && [ -n "$pid" ] && cpus "$pid" | grep -xF "$own"
  done
}}
bounded "$messages" {MESSAGES_BYTES} || exit
exec 8>"$messages.pipe"; rm -f "$messages.pipe"
if [ -n "$log" ]; then
  bounded "$log" {LOG_BYTES} || exit
  exec 9>"$log.pipe"; rm -f "$log.pipe"
fi
own=$(cpus self)
if [ "$cores" -gt 0 ] && [ "$(echo "$own" | wc -l)" -gt "$cores" ]; then
  least=$({{ echo "$own"; used; }} | sort -n | uniq -c | sort -n -k 1,1 -k 2,2 | head -n "$cores" | sed 's/.* //')
  set -- taskset -c "$(echo "$least" | paste -sd , -)" "$@"
fi
setsid "$@" </dev/null >&8 2>&1 8>&- &
echo $! >"$pidfile" || {{ kill -KILL $!; exit 1; }}"""

# Being there is not enough: the port is opened when everything else in the process has come up.
_AWAIT_PORT = f"""tries=0
while {RUNNING}; do
  case $(ss -Hltnp "sport = :$3") in *"pid=$pid,"*) echo "$5 $pid"; exit 0;; esac
  tries=$((tries + 1))
  [ $tries -le 300 ] || {{ echo "not listening on port $3 after 30 s" >&2; exit 1; }}
  sleep 0.1
done
for again in 1 2 3 4 5 6 7 8 9; do  # its last words may still be on their way
  [ ! -s "$4" ] || break
  sleep 0.1
done
words=$(tail -n 1 "$4" 2>/dev/null); words=${{words:+: $words}}
echo "ended at once${{words:-, without a word: are memory and processes left for its user?}}" >&2; exit 1"""


# A TAP has a carrier while a process holds it. One that was made anew has none, and the process holds nothing.
_HOLDS_TAPS = f"""{{ {RUNNING}; }} || exit 0
shift 2
for tap; do
  read -r carrier <"/sys/class/net/$tap/carrier" && [ "$carrier" = 1 ] || exit 1
done"""


def is_running(pid_file: str, mark: str) -> Argv:
    """Succeeds while the process lives."""
    return ("sh", "-c", RUNNING, "sh", pid_file, mark)


def is_running_or_unwanted(pid_file: str, mark: str, folder: str) -> Argv:
    """Succeeds while the process lives, and also when `folder`, without which nobody wants it, is gone."""
    return ("sh", "-c", f'[ ! -d "$3" ] || {{ {RUNNING}; }}', "sh", pid_file, mark, folder)


def holds_taps_or_ended(pid_file: str, mark: str, taps: Sequence[str]) -> Argv:
    """Succeeds unless the process lives and one of its `taps` is not the one that it opened."""
    return ("sh", "-c", _HOLDS_TAPS, "sh", pid_file, mark, *taps)


def start(pid_file: str, messages: str, argv: Argv, *, log: str = "", cores: int = 0) -> Argv:
    """Starts `argv` in the background, in a session of its own.

    The beginning of what it says goes to the file `messages`, and the beginning of what it writes to `LOG_DEVICE` to
    the file `log`. All its threads together run on as many CPUs as `cores` says, 0: on all.
    """
    return ("sh", "-c", _START, "sh", pid_file, messages, log, str(cores), *argv)


def stop(signal: Literal["TERM", "KILL"], *processes: Process) -> Argv:
    """Sends `signal` to those that are ours and waits until all are gone; KILL follows after 3 s, failure after 6 s."""
    return ("sh", "-c", _STOP, "sh", signal, *chain.from_iterable(processes))


def await_port(pid_file: str, mark: str, port: int, messages: str, label: str) -> Argv:
    """Waits until the process listens on TCP `port` and prints `label` and its pid; fails at once when it has ended."""
    return ("sh", "-c", _AWAIT_PORT, "sh", pid_file, mark, str(port), messages, label)

"""Background processes on a host: known by a pid file *and* by a mark on their own command line, never by a pattern.

Each function returns an argv. The scripts are constants; what varies comes to them as positional arguments, so nothing
is ever put together to be read by a shell. `mark` is one whole argument of the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Literal, NamedTuple

Argv = tuple[str, ...]
Process = tuple[str, str]
"""A pid file and a mark."""

# With a process's pid file and mark as $1 and $2: whether it runs. While a process becomes another program its command
# line is empty for a moment: one that was started just now must not be taken for one that has ended.
RUNNING = r"""[ -r "$1" ] && read -r pid <"$1" && [ -d "/proc/${pid:-0}" ] && {
  grep -qzxF -- "$2" "/proc/$pid/cmdline" 2>/dev/null || {
    for again in 1 2 3 4 5; do
      { [ -d "/proc/$pid" ] && ! grep -qz . "/proc/$pid/cmdline" 2>/dev/null; } || break
      sleep 0.1
    done
    grep -qzxF -- "$2" "/proc/$pid/cmdline" 2>/dev/null; }; }"""

RUNS = f"""runs() {{ {RUNNING}; }}
"""
"""`runs PIDFILE MARK`: whether it runs; its pid is in `$pid` then."""

# All of them are told before the first is waited for, by a tail for each: a sleep for each look would be a process for
# each hundredth of a second. A tail ends where nobody can read what it says, so it says it to nobody.
# Whoever stays is looked at once more before it is killed: its pid may be another's by then. One without a command line
# is on its way out, and has let go of its memory only.
END = f"""{RUNS}end() {{
  signal=$1 left=$(($# / 2)); shift
  while [ $left -gt 0 ]; do
    ! runs "$1" "$2" || {{ kill -"$signal" "$pid"; set -- "$@" "$pid" "$2"; }}
    shift 2; left=$((left - 1))
  done
  for killed in no yes; do
    [ $# -gt 0 ] || return 0
    timeout 3 sh -c 'while [ $# -gt 0 ]; do
      [ ! -d "/proc/$1" ] || tail --pid="$1" -s 0.01 -f /dev/null >/dev/null
      shift 2
    done' sh "$@" || [ $? -eq 124 ] || return
    left=$(($# / 2))
    while [ $left -gt 0 ]; do
      if [ -d "/proc/$1" ] &&
        ! {{ grep -qz . "/proc/$1/cmdline" && ! grep -qzxF -- "$2" "/proc/$1/cmdline"; }} 2>/dev/null
      then
        [ $killed = no ] || {{ echo "process $1 does not end" >&2; return 1; }}
        kill -KILL "$1" 2>/dev/null; set -- "$@" "$1" "$2"
      fi
      shift 2; left=$((left - 1))
    done
  done
}}
"""
"""`end SIGNAL PIDFILE MARK PIDFILE MARK ...`, and all that `RUNS` has."""

_STOP = f'{END}end "$@"'

_SOME_RUN = f"""{RUNS}while [ $# -gt 0 ]; do
  ! runs "$1" "$2" || exit 0
  shift 2
done
exit 1"""

# A TAP has a carrier while a process holds it. One that was made anew has none, and the process holds nothing.
_RUNS_ON_ITS_TAPS = f"""{RUNNING} || exit
shift 2
for tap; do
  {{ read -r carrier <"/sys/class/net/$tap/carrier"; }} 2>/dev/null && [ "$carrier" = 1 ] || exit 1
done"""

MESSAGES_BYTES = 1 << 16
LOG_BYTES = 1 << 20
LOG_DEVICE = "/dev/fd/9"
"""Where a process that is started writes its log, by this name: opened anew it can be written only."""

# The CPUs on which the fewest of our processes may run, as a list; none where there are no more than are wanted.
_LEAST_USED = r"""function take(pid,   status, line, part, range, i, cpu) {
  status = "/proc/" pid "/status"
  while ((getline line <status) > 0)
    if (sub(/^Cpus_allowed_list:[ \t]*/, "", line))
      for (i = split(line, part, ","); i > 0; i--) {
        split(part[i] "-" part[i], range, "-")
        for (cpu = range[1] + 0; cpu <= range[2]; cpu++) uses[cpu]++
      }
  close(status)
}
BEGIN {
  take("self")
  for (cpu in uses) { own[cpu]; left++ }
  if (left <= cores) exit
  for (i = 1; i < ARGC; i++) {
    if ((getline pid <ARGV[i]) > 0) take(pid)
    close(ARGV[i])
  }
  for (; cores > 0; cores--) {
    best = ""
    for (cpu in own)
      if (best == "" || uses[cpu] < uses[best] || (uses[cpu] == uses[best] && cpu + 0 < best + 0)) best = cpu
    delete own[best]
    printf "%s%s", comma, best
    comma = ","
  }
}"""

# What a process says is at a guest's mercy, so it goes through pipes to processes that keep the beginning and throw the
# rest away: a write beyond the limit fails, and tee goes on without its file (setrlimit(2), tee(1)). They never refuse:
# QEMU mistakes an error of its log for one of the console and stops there. They end with it, when nobody can write any
# more.
#
# A program in the background holds the batch's streams open for all its life unless they are taken from it. What is
# told of the pid comes to its end when it is written down, for nobody else holds that end: so nobody has to guess
# whether the process has started yet.
_LAUNCH = f"""pidfile=$1 messages=$2 log=$3; shift 3
keep() {{ trap "" XFSZ; ulimit -f $(($2 / 512)) && exec tee "$1" >/dev/null 2>&1 3>&- 8>&-; }}
told=$(exec 3>&1
  {{ {{
    "$@" </dev/null 9>&1 >&8 2>&1 3>&- 8>&- &
    echo $! >"$pidfile" && echo $! >&3 || kill -KILL $!
  }} | keep "$log" {LOG_BYTES} & }} 8>&1 | keep "$messages" {MESSAGES_BYTES} &)
[ "$told" ]"""

# A session for the process and those that keep its words: whatever becomes of the batch's, they go on. The CPUs are
# taken before it begins, so that whoever starts next sees them taken.
_START = f"""{END}pidfile=$1 mark=$2 secret=$3 cores=$4; shift 4
end KILL "$pidfile" "$mark" || exit
umask 077
[ -z "$secret" ] || {{ read -r words && echo "$words" >"$secret"; }} || exit
cpus=
[ "$cores" -eq 0 ] || cpus=$(awk -v cores="$cores" '{_LEAST_USED}' "${{pidfile%/*/*}}"/*/*.pid) || exit
setsid --wait ${{cpus:+taskset -c "$cpus"}} "$@" || exit
name=${{pidfile##*/}}; printf '%s\n' "${{name%.pid}}\""""

# Being there is not enough: the port is opened when everything else in the process has come up. Those that are still
# waited for are put behind the others. Who has ended may still have its last words on their way.
_AWAIT_PORTS = f"""{RUNS}listens() {{
  local IFS='
'
  for line in $listening; do
    case $line in *":$1 "*"pid=$2,"*) return;; esac
  done
  return 1
}}
rounds=0
while [ $# -gt 0 ]; do
  [ $rounds -eq 0 ] || sleep 0.1
  listening=$(ss -Hltnp) left=$(($# / 5))
  while [ $left -gt 0 ]; do
    pid= name=${{1##*/}}; name=${{name%.pid}}
    [ ! -r "$1" ] || read -r pid <"$1"
    if listens "$3" "$pid" && runs "$1" "$2"; then
      echo "$5 $pid"
    elif [ -e "/proc/${{pid:-0}}/exe" ] || runs "$1" "$2"; then
      [ $rounds -lt 300 ] || {{ echo "$name does not listen on port $3 after 30 s" >&2; exit 1; }}
      set -- "$@" "$1" "$2" "$3" "$4" "$5"
    else
      for again in 1 2 3 4 5 6 7 8 9; do
        [ ! -s "$4" ] || break
        sleep 0.1
      done
      words=$(tail -n 1 "$4" 2>/dev/null); words=${{words:+: $words}}
      case $words in
      *[Kk][Vv][Mm]* | *ssertion*)
        words="$(printf %.150s "$words"); if KVM cannot run guests there, set hypervisor: {{accel: tcg}}";;
      esac
      echo "$name ended at once${{words:-, without a word: are memory and processes left for its user?}}" >&2
      exit 1
    fi
    shift 5; left=$((left - 1))
  done
  rounds=$((rounds + 1))
done"""


class Server(NamedTuple):
    """A process that listens on a TCP port; `label` is printed with its pid."""

    pid_file: str
    mark: str
    port: int
    messages: str
    label: str


def is_running(pid_file: str, mark: str) -> Argv:
    """Succeeds while the process lives."""
    return ("sh", "-c", RUNNING, "sh", pid_file, mark)


def some_run(processes: Iterable[Process]) -> Argv:
    """Succeeds while one of the processes lives."""
    return ("sh", "-c", _SOME_RUN, "sh", *chain.from_iterable(processes))


def runs_on_its_taps(pid_file: str, mark: str, taps: Sequence[str]) -> Argv:
    """Succeeds while the process lives and each of its `taps` is the one that it opened."""
    return ("sh", "-c", _RUNS_ON_ITS_TAPS, "sh", pid_file, mark, *taps)


def start(process: Process, messages: str, log: str, argv: Argv, *, secret: str = "", cores: int = 0) -> Argv:
    """Starts `argv` in the background, in a session of its own, and prints its pid file's name; an older one is ended.

    The beginning of what it says goes to the file `messages`, and the beginning of what it writes to `LOG_DEVICE` to
    the file `log`. What the script is given to read, a line, goes to the file `secret` before; the files are its user's
    only. All its threads together run on as many CPUs as `cores` says, 0: on all.
    """
    launch = ("sh", "-c", _LAUNCH, "sh", process[0], messages, log, *argv)
    return ("sh", "-c", _START, "sh", *process, secret, str(cores), *launch)


def stop(signal: Literal["TERM", "KILL"], *processes: Process) -> Argv:
    """Sends `signal` to those that are ours and waits until all are gone; KILL follows after 3 s, failure after 6 s."""
    return ("sh", "-c", _STOP, "sh", signal, *chain.from_iterable(processes))


def await_ports(servers: Iterable[Server]) -> Argv:
    """Waits until all listen, prints label and pid of each; fails at once when one has ended, with its last words."""
    words = (str(word) for server in servers for word in server)
    return ("sh", "-c", _AWAIT_PORTS, "sh", *words)

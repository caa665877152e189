"""One function of a shell script for many objects side by side: while one waits for the kernel, the others go on.

What waits is a device that is moved into another namespace (some 20 ms, and longer where QEMUs start), a program that
starts, or one that is asked. Every object costs two forks, so this is for tens of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# `beside FUNCTION COUNT NAME WORD... COUNT NAME WORD...`: the function with each COUNT words, the first of which is the
# object's name. It fails when one of them does, and then the last line on standard error is that one's, with its name.
# Whatever happens, also where no process can be begun any more, it ends after all that it began.
BESIDE = r"""beside() {
  function=$1 running='' failed='' newline='
'
  shift
  trap wait EXIT
  while [ $# -gt 0 ]; do
    words='' number=1 last=$(($1 + 1))
    while [ $number -lt $last ]; do number=$((number + 1)) words="$words \"\${$number}\""; done
    {
      eval "said=\$($function $words 2>&1 >&3 3>&-)" || {
        case $said in *"$newline"*) printf '%s\n' "${said%"$newline"*}" >&2;; esac
        [ -z "$said" ] || printf '%s\n' "${2:+$2: }${said##*"$newline"}" >&2
        exit 1
      }
    } 3>&1 &
    running="$running $!"
    shift $last
  done
  for pid in $running; do wait "$pid" || failed=1; done
  [ -z "$failed" ]
}
"""


def grouped(groups: Iterable[Sequence[str]]) -> list[str]:
    """The words of each object, as `beside` reads them."""
    return [word for group in groups for word in (str(len(group)), *group)]

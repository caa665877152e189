"""One function of a shell script for many objects side by side: while one waits for the kernel, the others go on.

What waits is a device that is moved into another namespace (some 20 ms, and longer where QEMUs start), a program that
starts, or one that is asked. Every object costs a fork at least, so this is for tens of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# `beside FUNCTION COUNT WORD... COUNT WORD...`: the function with each COUNT words; fails when one of them does.
BESIDE = r"""beside() {
  function=$1 running='' failed=''; shift
  while [ $# -gt 0 ]; do
    words='' number=1 last=$(($1 + 1))
    while [ $number -lt $last ]; do number=$((number + 1)) words="$words \"\${$number}\""; done
    eval "$function $words" &
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

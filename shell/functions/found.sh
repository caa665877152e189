# usage: (sets "$@")
# Replaces the words PROGRAM MARK by the command lines of processes that have both; ends where there is none. One grep
# finds them all.
set -- $(grep -lazE -e "$1" -e "$2" /proc/[0-9]*/cmdline 2>/dev/null)
[ $# -gt 0 ] || exit 0

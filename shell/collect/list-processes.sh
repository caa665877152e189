# usage: list-processes.sh PROGRAM MARK
# Prints a command line on each line, its words apart by a byte that is in none of them.
# include: find-processes
find_processes "$1" "$2"
[ "$found" ] || exit 0
# shellcheck disable=SC2086 # each path is a word
grep -aH '' $found 2>/dev/null | tr '\000' '\037'

# usage: list-processes.sh PROGRAM MARK
# Prints the command line of each process that has both words: one on a line, its words apart by a byte that no word
# has.
# include: find-processes
find_processes "$1" "$2"
[ "$found" ] || exit 0
# shellcheck disable=SC2086 # each path is a word
grep -aH '' $found 2>/dev/null | tr '\000' '\037'

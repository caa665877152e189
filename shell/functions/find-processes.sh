# usage: find_processes PROGRAM MARK
# Sets $found to the command lines, in /proc, of processes that have both words; one grep finds them all.
find_processes() { found=$(grep -lazE -e "$1" -e "$2" /proc/[0-9]*/cmdline 2>/dev/null); }

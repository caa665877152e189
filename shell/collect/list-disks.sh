# usage: list-disks.sh PROGRAM MARK
# Prints the files that processes of ours have open: of each process that has both words. Then prints the TAPs that they
# hold, as /proc/pid/fdinfo names them; a TAP that was deleted has no name there.
# include: find-processes
find_processes "$1" "$2"
[ "$found" ] || exit 0
set --
for file in $found; do set -- "$@" "${file%/cmdline}/fd"; done
find "$@" -maxdepth 1 -lname '/*' ! -lname '/dev/*' ! -lname '/proc/*' -printf '%h %l\n' 2>/dev/null
set --
for file in $found; do set -- "$@" "${file%/cmdline}"/fdinfo/*; done
grep -sHE '^iff:.tap_' "$@"
exit 0

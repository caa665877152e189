# usage: list-disks.sh PROGRAM MARK
# Prints the files that the processes have open.
# include: found
for file; do shift; set -- "$@" "${file%/cmdline}/fd"; done
find "$@" -maxdepth 1 -lname '/*' ! -lname '/dev/*' ! -lname '/proc/*' -printf '%h %l\n' 2>/dev/null
exit 0

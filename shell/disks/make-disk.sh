# usage: make-disk.sh DISK COMMAND...
# Runs the command, which makes DISK.part. The disk gets its name when it is whole.
disk=$1; shift
"$@" >&2 && mv "$disk.part" "$disk"

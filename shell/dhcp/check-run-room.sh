# usage: check-run-room.sh PATH...
# Fails where /run has no room for servers whose paths are not there yet: each has four files and two folders, and a log
# of 128 KiB. Some file systems count no files.
needed=0
for path; do [ -e "$path" ] || needed=$((needed + 6)); done
set -- $(stat -f -c '%a %S %c %d' /run) || exit
[ $(($1 * $2)) -ge $((needed * 4096 + needed / 6 * 131072)) ] && { [ "$3" = 0 ] || [ "$4" -ge "$needed" ]; } ||
  { echo "/run is full; see what fills it, or make it larger: mount -o remount,size=SIZE /run" >&2; exit 1; }

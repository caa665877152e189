# usage: check-run-room.sh PATH...
# Fails where /run has no room for the servers whose paths do not exist yet. Each server has four files and two folders,
# and a log of 128 KiB. Some file systems do not count files.
needed=0
for path; do [ -e "$path" ] || needed=$((needed + 6)); done
# shellcheck disable=SC2046 # each number is a word
set -- $(stat -f -c '%a %S %c %d' /run) || exit
free=$(($1 * $2)) files=$3 free_files=$4

if [ "$free" -lt $((needed * 4096 + needed * 131072 / 6)) ] || { [ "$files" != 0 ] && [ "$free_files" -lt "$needed" ]; }
then
  echo "/run is full; see what fills it, or make it larger: mount -o remount,size=SIZE /run" >&2
  exit 1
fi

# usage: check-disk-room.sh FOLDER MIB
# Fails where the disk of the folder has less free room.
room=$(df --output=avail -k "$1") || exit
room=$((${room##*[!0-9]} / 1024))
[ "$room" -ge "$2" ] || {
  echo "snapshots need room for $2 MiB, and $room MiB are left in $1; delete other snapshots or VMs there" >&2
  exit 1
}

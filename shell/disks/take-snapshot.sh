# usage: take-snapshot.sh TAG LABEL PIDFILE MARK COUNT WORD...
# Takes a snapshot of a VM's disks, and prints LABEL and the MiB that they have on the worker. The first COUNT words are
# the command that has QEMU do it where the VM runs; then come the disks. A disk that has it already stays.
# include: runs
# include: has-snapshot
tag=$1 label=$2 pidfile=$3 mark=$4 count=$5 words='' number=1 blocks=0; shift 5
while [ $number -le "$count" ]; do words="$words \"\${$number}\"" number=$((number + 1)); done
if runs "$pidfile" "$mark"; then
  eval "$words" >/dev/null || exit
  shift "$count"
else
  shift "$count"
  for disk; do has_snapshot "$tag" "$disk" || qemu-img snapshot -c "$tag" "$disk" || exit; done
fi
for disk; do blocks=$((blocks + $(stat -c %b "$disk"))); done
echo "$label $((blocks / 2048))"

# usage: delete-snapshot.sh TAG PIDFILE MARK COUNT WORD...
# Deletes a snapshot of a VM's disks. The first COUNT words are the command that has QEMU do it where the VM runs; then
# come the disks.
# include: runs
# include: has-snapshot
tag=$1 pidfile=$2 mark=$3 count=$4 words='' number=1; shift 4
while [ $number -le "$count" ]; do words="$words \"\${$number}\"" number=$((number + 1)); done
if runs "$pidfile" "$mark"; then
  eval "$words" >/dev/null
else
  shift "$count"
  for disk; do ! has_snapshot "$tag" "$disk" || qemu-img snapshot -d "$tag" "$disk" || exit; done
fi

# usage: restore-disks.sh MARK DISK...
# Gives disks that were set aside their names back. Their mark is first: no disk is ever without an owner. Fails where
# neither disks set aside nor disks with that mark are there.
mark=$1 aside=''; shift

for disk; do
  [ ! -e "$disk.old" ] || aside=1
done
if [ -z "$aside" ] && { [ ! -e "$1" ] || [ ! -e "$mark" ]; }; then
  name=${1##*/}
  echo "the old disk of ${name%_img.qcow2} is gone, because its reset was almost complete; finish it" >&2
  exit 1
fi
: >"$mark" || exit
for disk; do
  [ ! -e "$disk.old" ] || mv "$disk.old" "$disk" || exit
done

# usage: apply-snapshot.sh TAG DISK...
# Brings the disks of a VM that does not run back to a snapshot. Nothing is changed where one of them has none.
# include: has-snapshot
tag=$1; shift
for disk; do
  has_snapshot "$tag" "$disk" || { echo "$disk has no snapshot ${tag#cloud-} any more; delete it" >&2; exit 1; }
done
for disk; do qemu-img snapshot -a "$tag" "$disk" || exit; done

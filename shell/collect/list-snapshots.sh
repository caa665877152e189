# usage: list-snapshots.sh FOLDER
# Prints the snapshots in disks of VMs: the path of the disk below FOLDER, and the tag. The header of a disk has their
# number (docs/interop/qcow2.txt of QEMU), so that only disks with snapshots cost a program of their own.
for disk in "$1"/slice-*/*_img.qcow2; do
  [ -r "$disk" ] || continue
  count=$(od -An -t u4 --endian=big -j 60 -N 4 "$disk" 2>/dev/null)
  [ "${count:-0}" -gt 0 ] 2>/dev/null || continue
  qemu-img snapshot -l -U "$disk" 2>/dev/null | awk -v disk="${disk#"$1"/}" '$1 ~ /^[0-9]+$/ { print disk, $2 }'
done
exit 0

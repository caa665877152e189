# usage: make-overlay.sh BASE OVERLAY MIB MARK MOST_MIB
# Creates a disk over a base image. It has the size of the flavor, but never less than the base image, whose end would
# be cut off: that size is in its header (docs/interop/qcow2.txt of QEMU). An image larger than the flavor is refused. A
# size of 2^63 bytes and more is read as negative. A disk gets its name when it is whole: an overlay that exists is
# good, also after a crash. Its mark is there before it, so that no part of it is without an owner. A mark of others
# without an overlay is removed, or the new overlay would have two.
base=$1 overlay=$2 size=$(($3 * 1048576)) mark=$4 most=$5

[ ! -e "$overlay" ] || {
  echo "$overlay is there already, of a slice that database.yaml does not know (was an older version put back?); create\
 another slice and delete this one, then an operator removes it with: python3 cli.py doctor --fix" >&2
  exit 1
}
least=$(od -An -t d8 --endian=big -j 24 -N 8 "${overlay%/*}/$base") || exit
least=$((least))
if [ "$least" -lt 0 ] || [ "$least" -gt $((most * 1048576)) ]; then
  printf '%s\n' "the base image ${base##*/} is a disk of $((least / 1048576)) MiB, and the flavor has $most MiB: have\
 the operator raise its disk_gb, or shrink the image" >&2
  exit 1
fi
[ "$size" -ge "$least" ] || size=$least
[ -z "$mark" ] || : >"$mark" || exit
for other in "${overlay%_img.qcow2}".id-*; do
  [ "$other" = "$mark" ] || [ ! -e "$other" ] || rm -f "$other" || exit
done
qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$overlay.part" "$size" >&2 && mv "$overlay.part" "$overlay"

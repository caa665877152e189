# usage: remove-image.sh IMAGE FINGERPRINT
# Removes a base image, unless a disk is built on it. A disk has the name of its base image in its first cluster
# (docs/interop/qcow2.txt of QEMU). The fingerprint goes first: an image without one is looked at again.
image=$1 fingerprint=$2

for disk in "${image%/*}"/slice-*/*_img.qcow2*; do
  [ -e "$disk" ] || continue
  ! head -c 65536 "$disk" | grep -aqF "../${image##*/}" || {
    echo "the disk $disk is built on ${image##*/}, and database.yaml does not know it; see: python3 cli.py doctor" >&2
    exit 1
  }
done
rm -f "$fingerprint" "$image"

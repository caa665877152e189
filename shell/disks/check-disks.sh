# usage: check-disks.sh BASE FINGERPRINT [DISK MARK]...
# Prints the folders and disks that exist. Fails where a base image or a disk was replaced, is damaged, or belongs to
# another VM.
# include: require-same
base=$1 fingerprint=$2; shift 2
if [ -s "$base" ] && [ -s "$fingerprint" ]; then require_same "$base" "$fingerprint"; fi
while [ $# -gt 0 ]; do
  disk=$1 mark=$2; shift 2
  [ ! -d "${disk%/*}" ] || printf '%s\n' "${disk%/*}"
  [ -e "$disk" ] || continue
  [ -z "$mark" ] || [ -e "$mark" ] || {
    echo "the disk $disk is another VM's (was an older database.yaml put back?); delete the slice, which leaves that\
 disk alone, or have the operator look (if it is this VM's: touch $mark)" >&2
    exit 1
  }
  qemu-img info -U -f qcow2 "$disk" >/dev/null 2>&1 ||
    { echo "the disk $disk is damaged; bring it back from a copy, or delete the slice" >&2; exit 1; }
  printf '%s\n' "$disk"
done

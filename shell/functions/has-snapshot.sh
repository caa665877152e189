# usage: has_snapshot TAG DISK
# Succeeds where the disk has a snapshot with this tag; QEMU may have the disk open.
has_snapshot() {
  qemu-img snapshot -l -U "$2" 2>/dev/null | awk -v tag="$1" '$2 == tag { found = 1 } END { exit !found }'
}

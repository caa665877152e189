# usage: require_same BASE KEPT
# Ends the script where a base image is not the one that disks of VMs were built on. The disks hold only their
# differences from it: with another one under them they are garbage.
# include: fingerprint
require_same() {
  has_fingerprint "$1" "$2" || {
    printf '%s\n' "$1 is not the image that disks of VMs were built on; put that one back (if it is that one, or\
 no disk is left on it: rm $2)" >&2
    exit 1
  }
}

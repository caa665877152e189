# usage: keep-fingerprint.sh FILE LABEL ADVICE PREPARED FINGERPRINT
# Keeps the fingerprint of a base image from its first use on, and fails where the image is another one now. Disks of
# VMs hold only their differences from their base image: with another one under them, they are garbage. PREPARED is the
# fingerprint that the slice made of the image before it got its name.
if [ -s "$5" ]; then
  [ "$(stat -c '%s %Y' "$1" 2>/dev/null)" = "$(cat "$5" 2>/dev/null)" ] && exit
  printf '%s
' "$1 is not the image that disks of VMs were built on; put that one back (if it is that one, or\
 no disk is left on it: rm $5)" >&2; exit 1
fi
[ -s "$4" ] && [ "$(stat -c '%s %Y' "$1" 2>/dev/null)" = "$(cat "$4" 2>/dev/null)" ] || {
case $(qemu-img info -U -f qcow2 --output=json "$1" 2>/dev/null) in
  *'"backing-filename"'* | *'"data-file"'*) printf '%s
' "$2 names another file as a part of it; $3" >&2; exit 1;;
esac
qemu-img check -q -U -f qcow2 "$1" >/dev/null 2>&1
case $? in 0 | 3) ;; *) printf '%s
' "$2 is not a whole qcow2 image; $3" >&2; exit 1;; esac
stat -c '%s %Y' "$1" >"$4"
} && { mv "$4" "$5" 2>/dev/null || [ -s "$5" ]; }

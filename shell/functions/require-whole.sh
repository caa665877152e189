# usage: require_whole FILE LABEL ADVICE
# Ends the script where the file is no whole qcow2 image. An image can name other files, which QEMU would open for the
# guest: any that the SSH user may read. Where a file ends too early, its own tables point beyond its end. Status 3 of
# qemu-img: clusters without an owner, which is no damage.
require_whole() {
  case $(qemu-img info -U -f qcow2 --output=json "$1" 2>/dev/null) in
    *'"backing-filename"'* | *'"data-file"'*) printf '%s\n' "$2 names another file as a part of it; $3" >&2; exit 1;;
  esac
  qemu-img check -q -U -f qcow2 "$1" >/dev/null 2>&1
  case $? in 0 | 3) ;; *) printf '%s\n' "$2 is not a whole qcow2 image; $3" >&2; exit 1;; esac
}

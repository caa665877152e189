# usage: make-blank-image.sh IMAGE
# Makes an image without a system: a boot sector that halts. Without one a BIOS goes on searching, and 80 of them use a
# quarter of two cores.
image=$1 raw=$1.raw

umask 022
{ printf '\372\364\353\375'; head -c 506 /dev/zero; printf '\125\252'; } >"$raw" && truncate -s 1G "$raw" &&
  qemu-img convert -f raw -O qcow2 "$raw" "$image" && rm "$raw"

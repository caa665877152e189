# usage: check-devices.sh FIRMWARE [DEVICE]...
# Fails where the host lacks the file FIRMWARE, where that is not empty, or a device of QEMU.
firmware=$1; shift
[ -z "$firmware" ] || [ -r "$firmware" ] ||
  { echo "a flavor asks for UEFI, and $firmware is not there (apt-get install ovmf)" >&2; exit 1; }
[ $# -gt 0 ] || exit 0
known=$(qemu-system-x86_64 -device help) || exit
missing=
for device; do
  case $known in *"name \"$device\""*) ;; *) missing="$missing $device";; esac
done
[ -z "$missing" ] || {
  echo "QEMU there lacks what a flavor asks for:$missing (apt-get install qemu-system-x86 brings a newer one); or\
 change the flavor" >&2
  exit 1
}

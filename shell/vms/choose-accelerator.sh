# usage: choose-accelerator.sh RECORD EMULATION COMMAND...
# Becomes the command, with EMULATION in place of `kvm` where the record says that KVM runs no guest. Without a record
# QEMU itself checks whether it can open KVM.
record=$1 emulation=$2; shift 2
known='' boot=; { read -r known <"$record"; read -r boot; } 2>/dev/null </proc/sys/kernel/random/boot_id
[ "$known" != "$boot tcg" ] || for word; do
  shift
  [ "$word" != kvm ] || word=$emulation
  set -- "$@" "$word"
done
exec "$@"

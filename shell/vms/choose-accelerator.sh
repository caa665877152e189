# usage: choose-accelerator.sh RECORD COMMAND...
# Becomes the command, with `tcg` in place of `kvm` where the record says that KVM runs no guest. Without a record QEMU
# itself checks whether it can open KVM.
record=$1; shift
known='' boot=; { read -r known <"$record"; read -r boot; } 2>/dev/null </proc/sys/kernel/random/boot_id
[ "$known" != "$boot tcg" ] || for word; do
  shift
  [ "$word" != kvm ] || word=tcg
  set -- "$@" "$word"
done
exec "$@"

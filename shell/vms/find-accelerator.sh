# usage: find-accelerator.sh RECORD WANTED
# Records whether KVM runs a guest. WANTED is auto, kvm or tcg, with `-required` where a VM runs by KVM only. The guest
# enters protected mode, returns from an interrupt, pages, and writes a byte to the port at which QEMU ends with status
# 99 (x86; hw/misc/debugexit.c of QEMU). It consists of 16-bit code, then 32-bit code from 0x20 on, then descriptors. It
# takes a tenth of the 5 seconds, also by TCG; a KVM that cannot run it stands still.
record=$1 wanted=$2 known='' accel=none

# Prints a boot sector: 126 bytes of code and descriptors, zeros, and the mark of a boot sector.
guest() {
  # cli; segments; lgdt; cr0.PE; ljmp
  printf '\372\061\300\216\330\216\320\274\000\174\146\017\001\026\170\174\017\040\300\014\001\017\042\300'
  printf '\146\352\040\174\000\000\010\000'
  # segments; pushf; push cs; push 0x7c30; iret
  printf '\146\270\020\000\216\330\216\320\234\016\150\060\174\000\000\317'
  # a page of 4 MiB; cr3; cr4.PSE; cr0.PG
  printf '\307\005\000\200\000\000\203\000\000\000\270\000\200\000\000\017\042\330\017\040\340\014\020\017\042\340'
  printf '\017\040\300\015\000\000\000\200\017\042\300'
  # out 0x31, 0xf4; hlt
  printf '\260\061\346\364\364\353\375\215\164\046\000'
  # descriptors
  printf '\000\000\000\000\000\000\000\000\377\377\000\000\000\233\317\000\377\377\000\000\000\223\317\000'
  printf '\027\000\140\174\000\000'
  head -c 384 /dev/zero
  printf '\125\252'
}

[ "$wanted" != tcg-required ] ||
  { echo "a flavor requires KVM, and hypervisor: {accel: tcg} turns it off; change one of them" >&2; exit 1; }
read -r boot </proc/sys/kernel/random/boot_id
[ ! "$record" -nt /dev/kvm ] || read -r known <"$record"
case $known in
"$boot "*) accel=${known#* };;
*) if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
    trap 'rm -f "$record.$$"' EXIT; trap 'exit 1' HUP INT PIPE TERM
    guest >"$record.$$" || exit
    timeout 5 qemu-system-x86_64 -no-user-config -nodefaults -machine pc -cpu max -accel kvm -m 16 \
      -display none -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=1 \
      -drive "file=$record.$$,format=raw,if=floppy,readonly=on" >/dev/null 2>&1
    case $? in 99) accel=kvm;; *) accel=tcg;; esac
    echo "$boot $accel" >"$record.$$" && mv -f "$record.$$" "$record" || exit
  fi;;
esac
case $wanted$accel in
*-requiredtcg) echo "a flavor requires KVM, and KVM runs no guest there (is nested virtualization off?); change the\
 flavor, or name other workers in workers_list" >&2
  exit 1;;
*-requirednone) echo "a flavor requires KVM, and /dev/kvm cannot be opened there (group kvm?); correct that, or change\
 the flavor" >&2
  exit 1;;
kvmtcg) echo "KVM opens there and runs no guest (is nested virtualization off?); set hypervisor: {accel: tcg}" >&2
  exit 1;;
kvmnone) echo "/dev/kvm cannot be opened there (group kvm?); correct that or set accel: tcg" >&2; exit 1;;
esac

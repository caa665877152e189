"""How guests run on a worker: by KVM where it runs a guest, else by QEMU's own emulation (TCG). Pure.

That /dev/kvm opens says little: in a machine that is itself virtual it may not run a guest. So a guest of 126 bytes is
tried, once until the worker is booted again or its KVM is loaded again; the record of it is beside the images.
"""

from __future__ import annotations

from collections.abc import Sequence

Argv = tuple[str, ...]

RECORD = ".accel"
"""The record's name, beside the images."""

PROBE_SECONDS = 5
"""The guest takes a tenth of that, also by TCG; one that KVM cannot run stands still."""

# It enters protected mode, returns from an interrupt, pages, and writes a byte to the port at which QEMU ends with
# status 99 (x86; hw/misc/debugexit.c of QEMU). 16-bit code, then 32-bit code from 0x20 on, then its descriptors.
_GUEST = (
    r"\372\061\300\216\330\216\320\274\000\174\146\017\001\026\170\174\017\040\300\014\001\017\042\300\146\352\040\174"
    r"\000\000\010\000"  # cli; segments; lgdt; cr0.PE; ljmp
    r"\146\270\020\000\216\330\216\320\234\016\150\060\174\000\000\317"  # segments; pushf; push cs; push 0x7c30; iret
    r"\307\005\000\200\000\000\203\000\000\000\270\000\200\000\000\017\042\330\017\040\340\014\020\017\042\340"
    r"\017\040\300\015\000\000\000\200\017\042\300"  # a page of 4 MiB; cr3; cr4.PSE; cr0.PG
    r"\260\061\346\364\364\353\375\215\164\046\000"  # out 0x31, 0xf4; hlt
    r"\000\000\000\000\000\000\000\000\377\377\000\000\000\233\317\000\377\377\000\000\000\223\317\000"
    r"\027\000\140\174\000\000"
)
_GUEST_BYTES = 126

_CAN_RUN = f"""record=$1 wanted=$2 known= accel=none
read -r boot </proc/sys/kernel/random/boot_id
[ ! "$record" -nt /dev/kvm ] || read -r known <"$record"
case $known in
"$boot "*) accel=${{known#* }};;
*) if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
    trap 'rm -f "$record.$$"' EXIT; trap 'exit 1' HUP INT PIPE TERM
    {{ printf '{_GUEST}'; head -c {510 - _GUEST_BYTES} /dev/zero; printf '\\125\\252'; }} >"$record.$$" || exit
    timeout {PROBE_SECONDS} qemu-system-x86_64 -no-user-config -nodefaults -machine pc -cpu max -accel kvm -m 16 \\
      -display none -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=1 \\
      -drive "file=$record.$$,format=raw,if=floppy,readonly=on" >/dev/null 2>&1
    case $? in 99) accel=kvm;; *) accel=tcg;; esac
    echo "$boot $accel" >"$record.$$" && mv -f "$record.$$" "$record" || exit
  fi;;
esac
case $wanted$accel in
kvmtcg) echo "KVM opens there and runs no guest (is nested virtualization off?); set hypervisor: {{accel: tcg}}" >&2
  exit 1;;
kvmnone) echo "/dev/kvm cannot be opened there (group kvm?); correct that or set accel: tcg" >&2; exit 1;;
esac"""

# Without a record QEMU itself looks whether KVM opens.
_CHOOSE = """record=$1; shift
known= boot=; { read -r known <"$record"; read -r boot; } 2>/dev/null </proc/sys/kernel/random/boot_id
[ "$known" != "$boot tcg" ] || for word; do
  shift
  [ "$word" != kvm ] || word=tcg
  set -- "$@" "$word"
done
exec "$@\""""


def options(accel: str) -> Argv:
    """Return QEMU's options; `auto` begins with KVM, of which `choosing` takes nothing where it runs no guest."""
    names = ("kvm", "tcg") if accel == "auto" else (accel,)
    return tuple(word for name in names for word in ("-accel", name))


def can_run(record: str, accel: str) -> Argv:
    """Find out whether KVM runs a guest, and note it in `record`. Fails where `accel` is `kvm` and it does not."""
    return ("sh", "-c", _CAN_RUN, "sh", record, accel)


def choosing(record: str, argv: Argv) -> Argv:
    """Return the argv that becomes QEMU's, by TCG where the record says that KVM runs no guest."""
    return ("sh", "-c", _CHOOSE, "sh", record, *argv)


def variants(argv: Argv) -> Sequence[Argv]:
    """Return what `choosing` may run."""
    return argv, tuple("tcg" if word == "kvm" else word for word in argv)

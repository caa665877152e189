# usage: list-programs.sh PROGRAM...
# Prints each program with its version, or with `there`; a program alone on its line is not installed.
for program; do
  command -v "$program" >/dev/null || { echo "$program"; continue; }
  case $program in
    dnsmasq | ovs-vsctl | qemu-system-x86_64) echo "$program $("$program" --version 2>/dev/null | head -n 1)";;
    *) echo "$program there";;
  esac
done

# usage: list-tools.sh PROGRAM...
for tool; do
  command -v "$tool" >/dev/null || { echo "$tool"; continue; }
  case $tool in
    dnsmasq | ovs-vsctl | qemu-system-x86_64) echo "$tool $("$tool" --version 2>/dev/null | head -n 1)";;
    *) echo "$tool there";;
  esac
done

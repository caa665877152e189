# usage: ask-with-carrier.sh NIC
# Lets the DHCP client of a guest's interface ask when its carrier comes, as clients of today do: udhcpc does not watch it.

nic=$1

until grep -q 1 "/sys/class/net/$nic/carrier" 2>/dev/null; do
  usleep 20000
done
for pid in $(pidof udhcpc); do
  if grep -q "$nic" "/proc/$pid/cmdline"; then
    kill -USR1 "$pid"
  fi
done

# usage: ask-with-carrier.sh
# Lets the DHCP client of a guest's eth2 ask when its carrier comes, as clients of today do: udhcpc does not watch it.

until grep -q 1 /sys/class/net/eth2/carrier 2>/dev/null; do
  usleep 20000
done
for pid in $(pidof udhcpc); do
  if grep -q eth2 "/proc/$pid/cmdline"; then
    kill -USR1 "$pid"
  fi
done

# usage: taps-are-dropped.sh TABLE LISTING TAPS
# Succeeds where the nftables table is as the listing (with single spaces) says. Before the first TAP there is no table,
# and no process is needed to know that.
for tap in $3; do
  [ ! -e "/sys/class/net/$tap" ] || { set -f; [ "$(echo $(nft list table inet "$1" 2>/dev/null))" = "$2" ]; exit; }
done
exit 1

# usage: put-back-flows.sh COOKIE
# Reads the flows that had the cookie, and makes them its only ones in one transaction. Where there were none all are
# removed, without a transaction, which takes 50 ms longer.
if read -r first; then
  { printf '%s\n' "delete cookie=$1/-1" "$first"; cat; } | ovs-ofctl --timeout=20 --bundle add-flows br-int -
else
  exec ovs-ofctl --timeout=20 del-flows br-int "cookie=$1/-1"
fi

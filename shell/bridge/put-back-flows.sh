# usage: put-back-flows.sh BRIDGE COOKIE
# Reads the flows that the cookie had, and restores exactly these in one transaction. Where there were none it removes
# all: without a transaction, because a transaction takes 50 ms longer.
if read -r first; then
  { printf '%s\n' "delete cookie=$2/-1" "$first"; cat; } | ovs-ofctl --timeout=20 --bundle add-flows "$1" -
else
  exec ovs-ofctl --timeout=20 del-flows "$1" "cookie=$2/-1"
fi

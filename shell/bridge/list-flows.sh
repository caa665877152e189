# usage: list-flows.sh BRIDGE COOKIE
# Prints the flows with this cookie, as `ovs-ofctl add-flows` reads them. Some versions print a heading first.
flows=$(ovs-ofctl --timeout=20 --no-stats --names dump-flows "$1" "cookie=$2/-1") || exit
printf '%s\n' "$flows" | while read -r line; do
  case $line in cookie=*) printf '%s\n' "$line";; esac
done

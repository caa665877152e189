# usage: check-way-out.sh GATEWAY NETWORK UPLINK SSH_PORT
# Fails where guests could not reach the internet: the uplink is down, their network is in use, or another firewall
# drops their packets. It checks and changes nothing.
# include: barriers
inside=$1 network=$2 uplink=$3 port=$4

fail() { echo "$1" >&2; exit 1; }
{ read -r flags <"/sys/class/net/$uplink/flags"; } 2>/dev/null || {
  route=$(ip -4 -o route show default); route=${route##* dev }
  fail "internet: uplink: there is no interface $uplink${route:+; the default route is by ${route%% *}}; \
set it in database.yaml"
}
[ $((flags & 1)) = 1 ] || fail "the uplink $uplink is down; bring it up with: ip link set $uplink up"
peers=$(ss -Htn state established "( sport = :$port and dst $network )")
# shellcheck disable=SC2086 # each field is a word
set -- $peers
[ $# -lt 4 ] || fail "internet: cidr: $network holds ${4%:*}, which is connected by SSH: is it the manager? \
Choose a network that nothing else uses"
there=$(printf '%s\n' "addr show to $network" "route show root $network" "route show match $network scope link" |
  ip -4 -o -batch -)
IFS=$newline
for line in $there; do
  case $line in *" $inside "* | "default "*) continue;; esac
  IFS=' '
  # shellcheck disable=SC2086 # each field is a word
  set -- $line
  case $1 in *:) use="address $4 of $2";; *) use="route to $1 $2 $3";; esac
  fail "internet: cidr: $network is in use here: $use; choose a network that nothing else uses"
done
unset IFS
barrier=$(barriers)
[ -z "$barrier" ] || fail "another firewall drops what guests send to the internet: ${barrier%%"$newline"*}; \
let $inside pass there, in both directions, or remove it"

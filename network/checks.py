"""Check the ground that the product stands on: br-int's own flow, its data port, the uplink, other firewalls.

It is looked at and never touched. These steps are read-only and fail where nothing could work; the doctor finds the
same things (inspection/foundation.py).
"""

from __future__ import annotations

from core.inventory import Inventory
from core.names import gateway_port
from models import Slice
from network import ovs, wire
from remote.plan import Command, Step

# Words: the data port by its setting, and the VLANs that have to leave the host. Of what ovs-vsctl writes, a line of
# Interface has a map in it, a line of Port three commas, and one of list-ports is a name. A bond has interfaces of
# other names. One way that is good is enough.
_IS_READY = rf"""setting=$1; shift
vlans="$*" newline='
'
fail() {{ echo "$1" >&2; exit 1; }}
said=$(ovs-vsctl --timeout=10 --format=csv --no-headings list-ports {ovs.BRIDGE} -- \
  --columns=name,tag,trunks,vlan_mode list Port -- --columns=name,type,external_ids list Interface 2>&1) ||
  case $said in
    *"no bridge named"*) fail "Open vSwitch has no bridge {ovs.BRIDGE}; add it with: ovs-vsctl add-br {ovs.BRIDGE}";;
    *) fail "Open vSwitch does not answer; start it with: systemctl start openvswitch-switch";;
  esac
set -f
members=$newline inside='' devices=''
IFS=$newline
for line in $said; do
  name=${{line%%,*}}
  case $line in
    *,internal,*{{* | *{{*owner={ovs.OWNER}*) inside="$inside $name ";;
    *,*{{*) devices="$devices $name ";;
    *,*) ;;
    *) members="$members$name$newline";;
  esac
done
problem_of() {{
  which="its data port $1"
  line=${{said#*"$newline$1",}}; line=${{line%%"$newline"*}}
  tag=${{line%%,*}} mode=${{line##*,}} trunks=${{line#*,}}; trunks=${{trunks%,*}}
  trunks=${{trunks#\"}}; trunks=${{trunks#\[}}; trunks=${{trunks%\"}}; trunks=${{trunks%\]}}
  trunk="make it a trunk with: ovs-vsctl clear Port $1 tag trunks vlan_mode"
  case $tag,$mode in
    "[],[]" | *,trunk | *,native-*) ;;
    *) problem="$which carries the VLAN of its tag only; $trunk"; return;;
  esac
  for vlan in $vlans; do
    case ",$trunks," in
      ,, | *[,\ ]$vlan,*) ;;
      *) problem="$which does not carry VLAN $vlan; $trunk"; return;;
    esac
  done
  case $said in
    *"$newline$1,"\"\"\"*) [ -e "/sys/class/net/$1" ] || {{ problem="$which has no device"; return; }};;
  esac
  {{ read -r flags <"/sys/class/net/$1/flags"; }} 2>/dev/null || return 0
  [ $((flags & 1)) = 1 ] || {{ problem="$which is down; bring it up with: ip link set $1 up"; return; }}
  read -r carrier <"/sys/class/net/$1/carrier"
  [ "$carrier" = 1 ] || problem="$which has no carrier; see its cable, and the port of the switch"
}}
way=LOCAL
if [ $# -gt 0 ]; then
  problem="no port of {ovs.BRIDGE} leads to the other hosts; add that of the data network (docs/data-network.md)"
  [ -z "$setting" ] || problem="its data port $setting is not on the bridge: ovs-vsctl add-port {ovs.BRIDGE} $setting"
  for name in ${{setting:-$members}}; do
    case $inside in *" $name "*) continue;; esac
    case $members in *"$newline$name$newline"*) ;; *) continue;; esac
    [ "$setting" ] || [ ! -e "/sys/class/net/$name/tun_flags" ] || continue
    problem=
    IFS=' '; problem_of "$name"; IFS=$newline
    [ "$problem" ] || {{ case $devices in *" $name "*) way=$name;; esac; break; }}
  done
  [ -z "$problem" ] || fail "$problem"
fi
said=$(ovs-appctl --timeout=10 ofproto/trace {ovs.BRIDGE} \
  "in_port=$way,dl_vlan=${{1:-1}},dl_dst=ff:ff:ff:ff:ff:ff" 2>&1) || case $said in
  *"server returned an error"*) ;;
  *) fail "ovs-vswitchd does not answer; start it with: systemctl start openvswitch-switch";;
esac
case $said in *NORMAL*) ;; *)
  fail "{ovs.BRIDGE} passes no frame on, its own flow is gone; \
put it back with: ovs-ofctl add-flow {ovs.BRIDGE} priority=0,actions=NORMAL";;
esac"""

# A line for each chain of another firewall that drops what guests send to the internet: a packet passes when all base
# chains of the hook let it pass, whatever ours says (nft(8)). Rules of iptables and ours are in one chain, ours first.
# A firewall that names our interface, or the guests' network, is believed to know what it does.
_BARRIERS = r"""inside=$1 network=$2
newline='
'
knows_us() { case $1 in *"$inside"* | *"gw_vlan*"* | *"$network"*) ;; *) return 1;; esac; }
drops() {
  text=${1#*"chain $2 {"}; text=${text%%"$newline	}"*}
  ! printf '%s\n' "$text" | grep -Eqx '\s*(counter packets [0-9]+ bytes [0-9]+ )?accept' || return 1
  case $text in *"policy drop;"*) return 0;; esac
  last=${text##*"$newline		"}
  case $last in drop | reject* | counter*" drop" | counter*" reject"*) ;; *) return 1;; esac
}
barriers() {
  own="ip filter FORWARD" table='' chain='' legacy=''
  [ ! /usr/sbin/iptables -ef /usr/sbin/xtables-legacy-multi ] || own=
  ! command -v nft >/dev/null || nft list chains 2>/dev/null | while read -r first second third hook _; do
    case "$first $hook" in
      "table "*) table="$second $third";;
      "chain "*) chain=$second;;
      "type forward")
        case $table in "ip "* | "inet "*) ;; *) continue;; esac
        [ "$table $chain" != "$own" ] || continue
        rules=$(nft list table $table </dev/null) || continue
        knows_us "$rules" || ! drops "$rules" "$chain" || echo "chain $chain of table $table (nftables)";;
    esac
  done
  { while read -r table; do [ "$table" != filter ] || legacy=yes; done </proc/net/ip_tables_names; } 2>/dev/null
  [ "$own" ] && [ "$legacy" ] || return 0
  rules=$(iptables-legacy -S FORWARD 2>/dev/null)
  case $rules in *"-P FORWARD DROP"*) knows_us "$rules" || echo "chain FORWARD of iptables-legacy";; esac
}
"""

LIST_BARRIERS = f"{_BARRIERS}barriers"

# Words: gateway port, network, uplink, and the port of sshd.
_HAS_WAY_OUT = rf"""{_BARRIERS}uplink=$3 port=$4
fail() {{ echo "$1" >&2; exit 1; }}
{{ read -r flags <"/sys/class/net/$uplink/flags"; }} 2>/dev/null || {{
  route=$(ip -4 -o route show default); route=${{route##* dev }}
  fail "internet: uplink: there is no interface $uplink${{route:+; the default route is by ${{route%% *}}}}; \
set it in database.yaml"
}}
[ $((flags & 1)) = 1 ] || fail "the uplink $uplink is down; bring it up with: ip link set $uplink up"
peers=$(ss -Htn state established "( sport = :$port and dst $network )")
set -- $peers
[ $# -lt 4 ] || fail "internet: cidr: $network holds ${{4%:*}}, which is connected by SSH: is it the manager? \
Choose a network that nothing else uses"
there=$(printf '%s\n' "addr show to $network" "route show root $network" "route show match $network scope link" |
  ip -4 -o -batch -)
IFS=$newline
for line in $there; do
  case $line in *" $inside "* | "default "*) continue;; esac
  IFS=' '; set -- $line
  case $1 in *:) use="address $4 of $2";; *) use="route to $1 $2 $3";; esac
  fail "internet: cidr: $network is in use here: $use; choose a network that nothing else uses"
done
unset IFS
barrier=$(barriers)
[ -z "$barrier" ] || fail "another firewall drops what guests send to the internet: ${{barrier%%"$newline"*}}; \
let $inside pass there, in both directions, or remove it"
""".rstrip()


def bridge(inventory: Inventory, slice_: Slice, host: str) -> Step:
    """Check, read-only: Open vSwitch answers, br-int passes frames on, and the slice's VLANs have a way to leave."""
    vlans = [str(vlan) for vlan, hosts in wire.spans(inventory, slice_).items() if host in hosts]
    words = (inventory.data_ports.get(host, ""), *vlans)
    return Step(host, f"bridge {ovs.BRIDGE}", (Command(("sh", "-c", _IS_READY, "sh", *words)),))


def way_out(inventory: Inventory) -> Step:
    """Check, read-only: the uplink is there, the guests' network is nobody else's, and no other firewall drops it."""
    internet = inventory.internet
    words = (*barrier_words(inventory), internet.uplink, str(inventory.ssh.port))
    return Step(inventory.network_node, "way to the internet", (Command(("sh", "-c", _HAS_WAY_OUT, "sh", *words)),))


def barrier_words(inventory: Inventory) -> tuple[str, str]:
    """Return the words of `LIST_BARRIERS`: the gateway's port and the guests' network."""
    return gateway_port(inventory.internet.vlan_id), inventory.internet.cidr


def list_peers(inventory: Inventory) -> tuple[str, ...]:
    """List the connections to sshd from addresses of the guests' network."""
    where = f"( sport = :{inventory.ssh.port} and dst {inventory.internet.cidr} )"
    return ("ss", "-Htn", "state", "established", where)

# usage: check-bridge.sh BRIDGE DATA_PORT VLAN...
# Fails where the bridge does not carry the VLANs to other hosts. DATA_PORT is the setting, or empty: then one good port
# of the bridge is enough. ovs-vsctl prints three kinds of lines: that of an Interface has a map in it, that of a Port
# has three commas, and that of list-ports is only a name. The interfaces of a bond have other names than the bond.
bridge=$1 setting=$2; shift 2
vlans="$*" newline='
'
fail() { echo "$1" >&2; exit 1; }
said=$(ovs-vsctl --timeout=10 --format=csv --no-headings list-ports "$bridge" -- \
  --columns=name,tag,trunks,vlan_mode list Port -- --columns=name,type,external_ids list Interface 2>&1) ||
  case $said in
    *"no bridge named"*) fail "Open vSwitch has no bridge $bridge; add it with: ovs-vsctl add-br $bridge";;
    *) fail "Open vSwitch does not answer; start it with: systemctl start openvswitch-switch";;
  esac
set -f
members=$newline inside='' devices=''
IFS=$newline
for line in $said; do
  name=${line%%,*}
  case $line in
    *,patch,*"{"*owner=cloud-repositorio*)
      case $members in *"$newline$name$newline"*)
        [ $# = 0 ] || fail "port $name is of the tunnel that database.yaml had before (underlay); remove it with: \
python3 cli.py doctor --fix";;
      esac;;
    *,internal,*"{"* | *"{"*owner=cloud-repositorio*) inside="$inside $name ";;
    *,*"{"*) devices="$devices $name ";;
    *,*) ;;
    *) members="$members$name$newline";;
  esac
done
problem_of() {
  which="its data port $1"
  line=${said#*"$newline$1",}; line=${line%%"$newline"*}
  tag=${line%%,*} mode=${line##*,} trunks=${line#*,}; trunks=${trunks%,*}
  trunks=${trunks#\"}; trunks=${trunks#\[}; trunks=${trunks%\"}; trunks=${trunks%\]}
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
    *"$newline$1,"\"\"\"*) [ -e "/sys/class/net/$1" ] || { problem="$which has no device"; return; };;
  esac
  { read -r flags <"/sys/class/net/$1/flags"; } 2>/dev/null || return 0
  [ $((flags & 1)) = 1 ] || { problem="$which is down; bring it up with: ip link set $1 up"; return; }
  read -r carrier <"/sys/class/net/$1/carrier"
  [ "$carrier" = 1 ] || problem="$which has no carrier; see its cable, and the port of the switch"
}
way=LOCAL
if [ $# -gt 0 ]; then
  problem="no port of $bridge leads to the other hosts; add that of the data network (docs/data-network.md)"
  [ -z "$setting" ] || problem="its data port $setting is not on the bridge: ovs-vsctl add-port $bridge $setting"
  for name in ${setting:-$members}; do
    case $inside in *" $name "*) continue;; esac
    case $members in *"$newline$name$newline"*) ;; *) continue;; esac
    [ "$setting" ] || [ ! -e "/sys/class/net/$name/tun_flags" ] || continue
    problem=
    IFS=' '; problem_of "$name"; IFS=$newline
    [ "$problem" ] || { case $devices in *" $name "*) way=$name;; esac; break; }
  done
  [ -z "$problem" ] || fail "$problem"
fi
# usage: trace PORT VLAN
# Sets $said to the way of a broadcast frame through the flows.
trace() {
  said=$(ovs-appctl --timeout=10 ofproto/trace "$bridge" "in_port=$1,dl_vlan=$2,dl_dst=ff:ff:ff:ff:ff:ff" 2>&1) ||
    case $said in
      *"server returned an error"*) ;;
      *) fail "ovs-vswitchd does not answer; start it with: systemctl start openvswitch-switch";;
    esac
}
trace "$way" "${1:-1}"
# A link of ours that passes no frames, for now, hides the other flows.
case $said in *"priority 250, cookie 0xc10d"*) trace LOCAL 1;; esac
case $said in *NORMAL*) ;; *)
  fail "$bridge passes no frame on, its own flow is gone; \
put it back with: ovs-ofctl add-flow $bridge priority=0,actions=NORMAL";;
esac

# usage: check-underlay.sh OWNER KEY LEAST_MTU ADDRESS BRIDGE INNER
# Fails where this host cannot have an end of the tunnel at ADDRESS, or where a port of the bridge INNER leads to other
# hosts already. Fails also where another bridge has the KEY, and so the ports. ovs-vsctl prints names of ports alone,
# bridges with a map, ports with three further columns, and interfaces with type and map.
owner=$1 key=$2 least=$3 address=$4 bridge=$5 inner=$6 newline='
'
fail() { echo "$1" >&2; exit 1; }
line=$(ip -o -4 addr show to "$address/32") || exit
[ "$line" ] || fail "no interface has the address $address, where the tunnel of this host ends; name the one that \
reaches the other hosts in database.yaml: data_addresses"
device=${line#*: }; device=${device%%[ @]*}
read -r mtu <"/sys/class/net/$device/mtu" || exit
[ "$mtu" -ge "$least" ] || fail "$device has an MTU of $mtu, and the tunnel needs $least or more: set it here (ip link \
set dev $device mtu $least), on the other hosts and on the switches between them"
said=$(ovs-vsctl --timeout=10 --format=csv --no-headings list-ports "$inner" \
  -- --columns=name,external_ids list Bridge \
  -- --columns=name,tag,trunks,vlan_mode list Port -- --columns=name,type,external_ids list Interface) || exit
set -f
IFS=$newline members='' inside='' trunks=''
for line in $said; do
  name=${line%%,*}
  case $line in
    "$bridge,{"* | "$bridge,\"{"*)
      case $line in *"owner=$owner"*) ;; *)
        fail "a bridge $bridge is there that is not ours; remove it: ovs-vsctl del-br $bridge";;
      esac;;
    "$name,\"{owner=$owner, tunnel=\"\"$key\"\"}\"")
      fail "the bridge $name has the key $key, too; a realm with another name left it: doctor --fix removes it";;
    *,internal,*"{"* | *"{"*"owner=$owner"*) inside="$inside $name ";;
    *"{"*) ;;
    *,"[]",*,* | *,trunk | *,native-*) trunks="$trunks $name ";;
    *,*) ;;
    *) members="$members$name$newline";;
  esac
done
for name in $members; do
  case $inside in *" $name "*) continue;; esac
  case $trunks in *" $name "*) ;; *) continue;; esac
  [ -e "/sys/class/net/$name/tun_flags" ] ||
    fail "port $name of $inner leads to other hosts beside the tunnel, so frames would circle; remove it: \
ovs-vsctl del-port $inner $name"
done

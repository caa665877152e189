# usage: await-frames.sh BRIDGE SECONDS UNDERLAY [HOST VLAN MAC]...
# Waits until the bridge has learned all MACs, or fails with the hosts and VLANs from which no frame arrived. UNDERLAY
# is `trunk` or `tunnel`. The columns of fdb/show are two blanks apart.
bridge=$1 seconds=$2 underlay=$3; shift 3

read -r up _ </proc/uptime; end=$((${up%.*} + seconds))
look() {
  missing='' silent='' heard='' tried=''
  table=$(ovs-appctl --timeout=10 fdb/show "$bridge") || exit
  while [ $# -gt 0 ]; do
    case " $tried " in *" $1 "*) ;; *) tried="$tried $1";; esac
    case $table in
      *" $2  $3 "*) case " $heard " in *" $1 "*) ;; *) heard="$heard $1";; esac;;
      *) missing="$missing $1/$2";;
    esac
    shift 3
  done
}
while look "$@"; [ "$missing" ]; do
  read -r up _ </proc/uptime
  [ "${up%.*}" -lt "$end" ] || break
  sleep 0.2
done
[ "$missing" ] || exit 0
first='' more=0 seen='' partly=''
for each in $missing; do
  case " $seen " in *" ${each#*/} "*) continue;; esac
  if [ "$first" ]; then more=$((more + 1)); else first=${each#*/}; fi
  seen="$seen ${each#*/}"
done
[ "$more" = 0 ] || first="$first and $more more"
for host in $tried; do
  case " $heard " in
    *" $host "*) case "$missing/" in *" $host/"*) partly="${partly:+$partly, }$host";; esac;;
    *) silent="${silent:+$silent, }$host";;
  esac
done
case $underlay in
  tunnel) advice="do the firewalls let UDP port 6081 pass between the hosts, and all switches between them packets of \
1,600 bytes?";;
  *) advice="does the switch between the hosts pass them tagged (trunk)? Is the data port on the bridge, and up \
(ovs-vsctl list-ports $bridge; ip link set PORT up)?";;
esac
case $silent,$heard in
  *,*,) from="any other host ($silent); look at the wire of this host";;
  ?*,) from="$silent; look at the wires of both";;
  ?*,*) from="$silent, from other hosts it does; look at the wire of $silent";;
  *) from="$partly, and on other VLANs it does";;
esac
echo "VLAN $first: nothing arrives from $from: $advice" >&2
exit 1

# usage: tunnel-is-set.sh OWNER KEY TABLE MOST_LEARNED BRIDGE INNER PATCH PEER ADDRESS [PORT REMOTE]...
# Fails where a part of the tunnel is missing, leads elsewhere or is not open, or where its bridge has another port.
# ovs-vsctl prints settings first, then a line of TABLE, then the names of the bridge's ports, and interfaces with
# columns.
key=$2 most=$4 bridge=$5 inner=$6 patch=$7 peer=$8 address=$9 newline='
'
shift 9
fail() { echo "$1" >&2; exit 1; }
said=$(ovs-vsctl --timeout=20 --format=csv --no-headings port-to-br "$patch" \
  -- --columns=tag,trunks,vlan_mode,protected list Port "$patch" \
  -- --if-exists get Bridge "$inner" other_config:forward-bpdu -- get Bridge "$bridge" fail_mode \
  -- --columns=flow_limit,overflow_policy list Flow_Table -- list-ports "$bridge" \
  -- --columns=name,type,options,ofport list Interface) || exit
case $said in
  "$inner${newline}[],[],[],false${newline}\"true\"${newline}secure$newline"*) ;;
  *) fail "the bridges $inner and $bridge are not joined as they were made";;
esac
case $said in *"$newline$most,evict$newline"*) ;; *) fail "$bridge has no bound for the MACs that it learns";; esac
known="$patch $peer"
is_there() {
  case $said in *"$newline$1,$2,"[1-9]*) known="$known $1";; *)
    fail "port $1 of the tunnel, to $3, is missing, not open, or leads elsewhere";;
  esac
}
is_there "$patch" "patch,{peer=$peer}" "$bridge"
is_there "$peer" "patch,{peer=$patch}" "$inner"
while [ $# -gt 0 ]; do
  is_there "$1" "geneve,\"{key=\"\"$key\"\", local_ip=\"\"$address\"\", remote_ip=\"\"$2\"\"}\"" "$2"
  case $said in *"$newline$1$newline"*) ;; *) fail "port $1 is not on $bridge";; esac
  shift 2
done
set -f
for line in $said; do
  case $line in *,* | \"* | "$inner" | secure) continue;; esac
  case " $known " in *" $line "*) ;; *) fail "$bridge has a port $line, which is not ours";; esac
done

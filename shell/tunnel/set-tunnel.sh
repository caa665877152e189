# usage: set-tunnel.sh OWNER KEY TABLE MOST_LEARNED BRIDGE INNER PATCH PEER ADDRESS [PORT REMOTE]...
# Makes the bridge of the tunnel with a port to each other host, and its patch to INNER, in one transaction. Other
# ports of the bridge are removed. `secure`: without our flows the bridge passes no frame, else frames would circle. Of
# learned MACs the VLAN with the most loses one when they are too many. ovs-vsctl succeeds also where ovs-vswitchd
# cannot open a port, as without Geneve in its kernel.
owner=$1 key=$2 table=$3 most=$4 bridge=$5 inner=$6 patch=$7 peer=$8 address=$9; shift 9
type=$(ovs-vsctl --timeout=20 get Bridge "$inner" datapath_type) || exit
stale=$(ovs-vsctl --timeout=20 list-ports "$bridge" 2>/dev/null)
ours="external_ids={owner=$owner,tunnel=\"$key\"}" wanted=" $peer " ports=
# shellcheck disable=SC2089 # ovs-vsctl reads these quotes, not the shell
while [ $# -gt 0 ]; do
  wanted="$wanted $1 "
  ports="$ports -- --may-exist add-port $bridge $1 -- set Interface $1 type=geneve
    options={key=\"$key\",local_ip=\"$address\",remote_ip=\"$2\"} $ours"
  shift 2
done
for port in $stale; do
  case $wanted in *" $port "*) ;; *) ports="$ports -- --if-exists del-port $bridge $port";; esac
done
set -f
# shellcheck disable=SC2086,SC2090 # the names and addresses of ports have no blanks
said=$(ovs-vsctl --timeout=20 --may-exist add-br "$bridge" \
  -- --id=@learned create Flow_Table flow_limit="$most" overflow_policy=evict 'groups="NXM_OF_VLAN_TCI[0..11]"' \
  -- set Bridge "$bridge" datapath_type="$type" fail_mode=secure flow_tables:"$table"=@learned "$ours" \
  -- set Bridge "$inner" other_config:forward-bpdu=true \
  -- --may-exist add-port "$inner" "$patch" \
  -- set Port "$patch" 'tag=[]' 'trunks=[]' 'vlan_mode=[]' protected=false \
  -- set Interface "$patch" type=patch "options={peer=$peer}" "$ours" \
  -- --may-exist add-port "$bridge" "$peer" \
  -- set Interface "$peer" type=patch "options={peer=$patch}" "$ours" $ports 2>&1) ||
  { printf '%s\n' "$said" >&2; exit 1; }
case $said in *"Error detected"*) printf '%s\n' "$said" >&2; exit 1;; esac

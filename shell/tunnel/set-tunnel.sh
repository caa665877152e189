# usage: set-tunnel.sh OWNER KEY TABLE MOST_LEARNED BRIDGE INNER PATCH PEER ADDRESS [PORT REMOTE]...
# Makes the bridge of the tunnel with a port to each other host, and its patch to INNER, in one transaction. Other
# ports of the bridge are removed. `secure`: without our flows the bridge passes no frame, else frames would circle. Of
# learned MACs the VLAN with the most loses one when they are too many. ovs-vsctl succeeds also where ovs-vswitchd
# cannot open a port, as without Geneve in its kernel.
owner=$1 key=$2 table=$3 most=$4 bridge=$5 inner=$6 patch=$7 peer=$8 address=$9; shift 9
type=$(ovs-vsctl --timeout=20 get Bridge "$inner" datapath_type) || exit
stale=$(ovs-vsctl --timeout=20 list-ports "$bridge" 2>/dev/null)
set_tunnel() {
  wanted=" $peer " left=$#
  while [ "$left" -gt 0 ]; do
    wanted="$wanted $1 "
    set -- "$@" -- --may-exist add-port "$bridge" "$1" -- set Interface "$1" type=geneve \
      "options={key=\"$key\",local_ip=\"$address\",remote_ip=\"$2\"}" "external_ids={owner=$owner,tunnel=\"$key\"}"
    shift 2; left=$((left - 2))
  done
  for port in $stale; do
    case $wanted in *" $port "*) ;; *) set -- "$@" -- --if-exists del-port "$bridge" "$port";; esac
  done
  ovs-vsctl --timeout=20 --may-exist add-br "$bridge" \
    -- --id=@learned create Flow_Table flow_limit="$most" overflow_policy=evict 'groups="NXM_OF_VLAN_TCI[0..11]"' \
    -- set Bridge "$bridge" datapath_type="$type" fail_mode=secure flow_tables:"$table"=@learned \
      "external_ids={owner=$owner,tunnel=\"$key\"}" \
    -- set Bridge "$inner" other_config:forward-bpdu=true \
    -- --may-exist add-port "$inner" "$patch" \
    -- set Port "$patch" 'tag=[]' 'trunks=[]' 'vlan_mode=[]' protected=false \
    -- set Interface "$patch" type=patch "options={peer=$peer}" "external_ids={owner=$owner,tunnel=\"$key\"}" \
    -- --may-exist add-port "$bridge" "$peer" \
    -- set Interface "$peer" type=patch "options={peer=$patch}" "external_ids={owner=$owner,tunnel=\"$key\"}" "$@"
}
said=$(set_tunnel "$@" 2>&1) || { printf '%s\n' "$said" >&2; exit 1; }
case $said in *"Error detected"*) printf '%s\n' "$said" >&2; exit 1;; esac

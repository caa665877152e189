# usage: remove-tunnel.sh OWNER KEY INNER
# Removes all bridges and ports that carry the mark of this tunnel, and has the bridge INNER drop BPDUs again.
find_marked() {
  ovs-vsctl --timeout=20 --format=csv --no-headings --columns=name find "$1" external_ids:owner="$owner" \
    external_ids:tunnel="$key"
}
owner=$1 key=$2 inner=$3
bridges=$(find_marked Bridge) && ports=$(find_marked Interface) || exit
set -- remove Bridge "$inner" other_config forward-bpdu
for port in $ports; do set -- "$@" -- --if-exists del-port "$port"; done
for bridge in $bridges; do set -- "$@" -- --if-exists del-br "$bridge"; done
ovs-vsctl --timeout=20 "$@"

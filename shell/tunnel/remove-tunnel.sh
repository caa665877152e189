# usage: remove-tunnel.sh OWNER KEY
# Removes all bridges and ports that carry the mark of this tunnel. The bridge that its patch joins drops BPDUs again:
# other bridges of the host may have a tunnel of their own.
owner=$1 key=$2
find_marked() {
  table=$1; shift
  ovs-vsctl --timeout=20 --format=csv --no-headings --columns=name find "$table" external_ids:owner="$owner" \
    external_ids:tunnel="$key" "$@"
}
bridges=$(find_marked Bridge) && ports=$(find_marked Interface) && patches=$(find_marked Interface type=patch) || exit
set --
for port in $patches; do
  bridge=$(ovs-vsctl --timeout=20 port-to-br "$port") || exit
  set -- "$@" -- remove Bridge "$bridge" other_config forward-bpdu
done
for port in $ports; do set -- "$@" -- --if-exists del-port "$port"; done
for bridge in $bridges; do set -- "$@" -- --if-exists del-br "$bridge"; done
[ $# = 0 ] || ovs-vsctl --timeout=20 "$@"

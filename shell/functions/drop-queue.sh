# usage: drop_queue OWNER TAP
# Removes the queue of the TAP with its QoS row, where it has one of ours; the port may be gone.
drop_queue() {
  set -- "$2" "$(ovs-vsctl --timeout=20 --bare --columns=_uuid find QoS "external_ids:owner=$1" \
    "external_ids:tap=$2")"
  [ "$2" ] || return 0
  # shellcheck disable=SC2086 # each id of a row is a word
  set -- "$1" $2
  tap=$1 gone=''; shift
  for row; do gone="$gone -- destroy QoS $row"; done
  # shellcheck disable=SC2086 # each word of the transaction is one
  ovs-vsctl --timeout=20 -- --if-exists clear Port "$tap" qos $gone || return
  [ ! -e "/sys/class/net/$tap" ] || tc qdisc del dev "$tap" root 2>/dev/null || :
}

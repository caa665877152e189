# usage: shape-taps.sh OWNER [TAP QUEUE]...
# Gives each TAP its queue, and prints the TAPs that had another one. QUEUE: the words of tc(8) behind `root`, or none
# for a TAP without a queue. Open vSwitch removes the queue of a port whose QoS changes, so the row comes first.
# include: has-queue
# include: drop-queue
owner=$1; shift
find_queues "$owner" || exit
while [ $# -gt 0 ]; do
  if ! has_queue "$1" "$2"; then
    echo "$1"
    drop_queue "$owner" "$1" || exit
    [ "$2" ] || { shift 2; continue; }
    ovs-vsctl --timeout=20 -- --id=@queue create QoS type=linux-noop "external_ids:owner=$owner" \
      "external_ids:tap=$1" "external_ids:queue=\"$2\"" -- set Port "$1" qos=@queue >/dev/null || exit
    # shellcheck disable=SC2086 # each word of the queue is one
    tc qdisc replace dev "$1" root $2 || exit
  fi
  shift 2
done

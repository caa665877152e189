# usage: find_queues; has_queue TAP QUEUE
# Sets $rows to the QoS rows of ours; then succeeds where the TAP has a row with the words of the queue, and a queue of
# that kind. An empty QUEUE stands for no row.
newline='
'
find_queues() {
  rows=$newline$(ovs-vsctl --timeout=20 --format=csv --no-headings --columns=external_ids find QoS \
    "external_ids:owner=$1") || return
}
has_queue() {
  [ "$2" ] || case $rows in *", tap=$1}"*) return 1;; *) return;; esac
  case $rows in *"queue=\"\"$2\"\", tap=$1}"*) ;; *) return 1;; esac
  case $(tc qdisc show dev "$1" root 2>/dev/null) in "qdisc ${2%% *} "*) ;; *) return 1;; esac
}

# usage: check-shapes.sh OWNER [TAP QUEUE]...
# Fails where a TAP does not have its queue.
# include: has-queue
find_queues "$1" || exit
shift
while [ $# -gt 0 ]; do
  has_queue "$1" "$2" || { echo "TAP $1 has not the queue that its link asks for: ${2:-none}" >&2; exit 1; }
  shift 2
done

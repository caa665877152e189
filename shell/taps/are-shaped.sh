# usage: are-shaped.sh OWNER [TAP QUEUE]...
# Succeeds where each TAP has its queue.
# include: has-queue
find_queues "$1" || exit
shift
while [ $# -gt 0 ]; do
  has_queue "$1" "$2" || exit 1
  shift 2
done

# usage: unshape-taps.sh OWNER TAP...
# Removes the queues of TAPs, where they have some of ours.
# include: drop-queue
owner=$1; shift
for tap; do
  drop_queue "$owner" "$tap" || exit
done

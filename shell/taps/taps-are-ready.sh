# usage: taps-are-ready.sh OWNER TAP...
# include: is-ready
owner=$1; shift
for tap; do
  is_ready "$tap" || exit
done

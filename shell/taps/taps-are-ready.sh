# usage: taps-are-ready.sh OWNER TAP...
owner=$1; shift
# include: is-ready
for tap; do
  is_ready "$tap" || exit
done

# usage: list-bounds.sh
# Prints the rules of each namespace, to be compared with `neighbours.listing`: without the addresses that are known at
# the moment.
for path in /run/netns/ns-*; do
  [ -e "$path" ] || continue
  echo "namespace ${path##*/}"; nsenter --net="$path" nft -t list ruleset || exit
done

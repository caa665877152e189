# usage: list-bounds.sh
# Lists the rules of each namespace without the addresses known at the moment, to be compared with `neighbours.listing`.
for path in /run/netns/ns-*; do
  [ -e "$path" ] || continue
  echo "namespace ${path##*/}"; nsenter --net="$path" nft -t list ruleset || exit
done

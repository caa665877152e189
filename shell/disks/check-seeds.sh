# usage: check-seeds.sh SEED...
# Prints the seeds that exist. Fails where something has the name of a seed that cannot be replaced by one.
for seed; do
  [ -e "$seed" ] || [ -L "$seed" ] || continue
  [ ! -d "$seed" ] || { echo "the folder $seed is in the place of a seed; remove it" >&2; exit 1; }
  printf '%s\n' "$seed"
done

# usage: list-fences.sh
# Prints the lock and the number of each fence that this host keeps.
for file in /run/cloud-repositorio-*.fence; do
  [ -e "$file" ] || continue
  read -r number <"$file" || continue
  name=${file##*/cloud-repositorio-}
  echo "${name%.fence} $number"
done

# usage: check-port-names.sh PORT...
# Prints the ports that exist. Fails where one is not ours. ovs-vsctl prints our ports by their names alone, and then
# all ports with their types.
newline='
'
found=$newline$(ovs-vsctl --timeout=20 --format=csv --no-headings \
  --columns=name find Interface external_ids:owner=cloud-repositorio \
  -- --columns=name,type list Interface)$newline || exit
for port; do
  case $found in
    *"$newline$port$newline"*) echo "$port";;
    *"$newline$port,"*) echo "a port $port is there that is not ours; remove it or give it another name" >&2; exit 1;;
  esac
done

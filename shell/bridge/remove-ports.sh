# usage: remove-ports.sh HOW PORT...
# Removes those of the ports that are ours. HOW is `--no-wait`, or empty to wait for ovs-vswitchd, which takes some 15
# ms to free a port. The device of an internal port is removed with the port, so plans wait for that.
how=$1 newline='
'; shift
ours=$(ovs-vsctl --timeout=20 --format=csv --no-headings \
  --columns=name find Interface external_ids:owner=cloud-repositorio) || exit
for port; do
  shift
  case $newline$ours$newline in *"$newline$port$newline"*) set -- "$@" -- --if-exists del-port "$port";; esac
done
[ $# -eq 0 ] || ovs-vsctl --timeout=20 ${how:+"$how"} "$@"

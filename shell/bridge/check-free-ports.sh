# usage: check-free-ports.sh PORT...
# Fails where one of the ports exists: it belongs to a slice that was forgotten.
newline='
'
there=$newline$(ovs-vsctl --timeout=20 --format=csv --no-headings --columns=name list Interface)$newline || exit
for port; do
  case $there in *"$newline$port$newline"*)
    echo "port $port is there already, of a slice that database.yaml does not know (was an older version put back?);\
 have the operator remove it with: python3 cli.py doctor --fix" >&2
    exit 1;;
  esac
done

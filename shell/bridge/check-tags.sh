# usage: check-tags.sh PORT_TAG_PROTECTED...
# Fails where a port does not have exactly its tag and its protection, or is not open. A word is such as
# `tap_1001_eth0,301,false`. ovs-vswitchd gives a number to each port that it has opened; a port without a number
# carries no frames. When the device of a port comes back, ovs-vswitchd opens the port again within a moment.
newline='
'
for _ in 1 2 3 4 5 6 7 8 9 10; do
  ports=$(ovs-vsctl --timeout=20 --format=csv --no-headings \
    --columns=name,tag,protected,trunks,vlan_mode list Port -- --columns=ofport,name list Interface) || exit
  closed=
  for wanted; do
    case "$newline$ports$newline" in
      *"$newline$wanted,[],[]$newline"* | *"$newline$wanted,[],access$newline"*) ;;
      *) echo "port ${wanted%%,*} is not on the bridge with just tag and protection ${wanted#*,}" >&2; exit 1;;
    esac
    case "$newline$ports$newline" in
      *"$newline-1,${wanted%%,*}$newline"* | *"${newline}[],${wanted%%,*}$newline"*) closed=${wanted%%,*};;
    esac
  done
  [ "$closed" ] || exit 0
  sleep 0.2
done
echo "port $closed is not opened by ovs-vswitchd: is its device there?" >&2; exit 1

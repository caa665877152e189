# usage: check-tags.sh PORT_TAG_PROTECTED...
# Fails where a port does not have exactly its tag and its protection, is not open, or should not be there. The words
# are those of `is_set`. ovs-vswitchd gives a number to each port that it has opened; a port without a number carries no
# frames. When the device of a port comes back, ovs-vswitchd opens the port again within a moment.
# include: list-ports
for _ in 1 2 3 4 5 6 7 8 9 10; do
  list_ports || exit
  closed=
  for wanted; do
    is_set "$wanted" || case $wanted in
      *,-) echo "port ${wanted%,-} is on a bridge, but its interface has no link" >&2; exit 1;;
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

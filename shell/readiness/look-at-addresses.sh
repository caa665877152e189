# usage: look-at-addresses.sh GROUP...
# Prints the signs of life of each VM on the network, as lines of its ID and a word. `lease`: the log of a DHCP server
# says that one of its MACs got an address. `ssh`: an SSH server answers at ADDRESS, which is empty where none is asked.
# NAMESPACE is that of the slice's router, or empty. A group has: its COUNT of words, ID NAMESPACE ADDRESS, and pairs of
# LOG and MAC.
# include: beside
look() {
  id=$1 namespace=$2 address=$3; shift 3
  while [ $# -gt 0 ]; do
    ! grep -aqi "DHCPACK([^)]*) [0-9.]* $2" "$1" 2>/dev/null || { echo "$id lease"; break; }
    shift 2
  done
  [ "$address" ] || exit 0
  banner=$(timeout 2 ${namespace:+ip netns exec "$namespace"} \
    setpriv --reuid=65534 --regid=65534 --clear-groups -- \
    socat -u "TCP4:$address:22,connect-timeout=1,readbytes=4" - 2>/dev/null </dev/null)
  [ "$banner" != SSH- ] || echo "$id ssh"
}
beside look "$@"

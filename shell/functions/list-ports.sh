# usage: list_ports; is_set PORT_TAG_PROTECTED
# Reads the ports of the bridge into $ports (`list_ports`). Succeeds where one has exactly the tag and protection of a
# word such as `tap_1001_eth0,301,false`; `,[],dot1q-tunnel` behind it is its mode (`is_set`). A word such as
# `tap_1001_eth0,-` means a port that is not there.
newline='
'
list_ports() {
  ports=$(ovs-vsctl --timeout=20 --format=csv --no-headings \
    --columns=name,tag,protected,trunks,vlan_mode list Port -- --columns=ofport,name list Interface)
}
is_set() {
  case $1 in *,-)
    case $newline$ports in *"$newline${1%-}"*) return 1;; *) return 0;; esac;;
  esac
  case "$newline$ports$newline" in
    *"$newline$1$newline"* | *"$newline$1,[],[]$newline"* | *"$newline$1,[],access$newline"*) ;;
    *) return 1;;
  esac
}

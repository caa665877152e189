# usage: list-namespaces.sh SHARED THOROUGH
# Prints our namespaces with their devices, addresses and networks, and whether they route.
#
# A process in a namespace shows its network to processes outside as well (proc(5), /proc/pid/net), so nothing has to be
# started inside. That is enough where a DHCP server is in its namespace and is younger than ovs-vswitchd: its interface
# is the one that ovs-vswitchd opened. /proc shows no MACs, which only ports of ours on the shared VLAN have. It also
# shows no addresses without a network, which only the proof of isolation needs. A server has one device: the table of
# devices is opened only where the table of networks is empty. THOROUGH is not empty for the proof.
shared=$1 thorough=$2
# shellcheck disable=SC2016 # a program for awk(1)
facts='
  FNR == 1 { kind = FILENAME; sub(".*/", "", kind) }
  kind == "dev" && sub(":.*", "") { print "in", name, "device", $1 }
  kind == "route" && $3 == "00000000" { print "in", name, "network", $2, $8, $1; wired[name] = 1 }
  kind == "fib_trie" && FNR == 1 && !(name in wired) {
    table = FILENAME; sub("fib_trie$", "dev", table)
    while ((getline device <table) > 0) if (sub(":.*", "", device)) print "in", name, "device", device
  }
  kind == "fib_trie" && $1 == "|--" { address = $2 }
  kind == "fib_trie" && $1 == "/32" && $3 == "LOCAL" { print "in", name, "address", address }
  kind == "ip_forward" && $1 == 1 { print "in", name, "routes" }'
set --
for path in /run/netns/ns-*; do
  [ -e "$path" ] || continue
  name=${path##*/} pid=''
  read -r pid 2>/dev/null <"/run/$name/pid"
  case $thorough$name in
    ns-gw-*) nsenter --net="$path" awk "$facts" "name=$name" \
      /proc/net/dev /proc/net/route /proc/net/fib_trie /proc/sys/net/ipv4/ip_forward || exit;;
    *)
      if [ ! "$thorough" ] && [ "$name" != "$shared" ] && [ "/proc/$pid/ns/net" -ef "$path" ] &&
        [ "/run/$name/pid" -nt /run/openvswitch/ovs-vswitchd.pid ]; then
        set -- "$@" "name=$name" "/proc/$pid/net/route" "/proc/$pid/net/fib_trie"
      else
        echo "namespace $name"
        # shellcheck disable=SC2016 # a program for the shell in the namespace
        nsenter --net="$path" sh -c 'read -r line </proc/sys/net/ipv4/ip_forward
          for each in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
            off=1; [ ! -e "$each" ] || read -r off <"$each"
            [ "$off" = 1 ] || { each=${each%/*}; line="$line ${each##*/}"; }
          done
          echo "$line"
          ip -j addr && exec ss -Hlun "sport = :67"' || exit
      fi;;
  esac
done
[ $# -eq 0 ] || exec awk "$facts" "$@"

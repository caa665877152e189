# usage: barriers
# Prints a line for each chain of another firewall that drops packets of guests to the internet. A packet passes when
# all base chains of the hook let it pass (nft(8)). Rules of iptables and ours are in one chain, ours first. A firewall
# that names our interface $inside, or the network of the guests $network, is made for them and does not count.
newline='
'
knows_us() { case $1 in *"$inside"* | *"gw_vlan*"* | *"$network"*) ;; *) return 1;; esac; }
drops() {
  text=${1#*"chain $2 {"}; text=${text%%"$newline	}"*}
  ! printf '%s\n' "$text" | grep -Eqx '\s*(counter packets [0-9]+ bytes [0-9]+ )?accept' || return 1
  case $text in *"policy drop;"*) return 0;; esac
  last=${text##*"$newline		"}
  case $last in drop | reject* | counter*" drop" | counter*" reject"*) ;; *) return 1;; esac
}
barriers() {
  own="ip filter FORWARD" table='' chain='' legacy=''
  [ ! /usr/sbin/iptables -ef /usr/sbin/xtables-legacy-multi ] || own=
  ! command -v nft >/dev/null || nft list chains 2>/dev/null | while read -r first second third hook _; do
    case "$first $hook" in
      "table "*) table="$second $third";;
      "chain "*) chain=$second;;
      "type forward")
        case $table in "ip "* | "inet "*) ;; *) continue;; esac
        [ "$table $chain" != "$own" ] || continue
        # shellcheck disable=SC2086 # family and name
        rules=$(nft list table $table </dev/null) || continue
        knows_us "$rules" || ! drops "$rules" "$chain" || echo "chain $chain of table $table (nftables)";;
    esac
  done
  { while read -r table; do [ "$table" != filter ] || legacy=yes; done </proc/net/ip_tables_names; } 2>/dev/null
  [ "$own" ] && [ "$legacy" ] || return 0
  rules=$(iptables-legacy -S FORWARD 2>/dev/null)
  case $rules in *"-P FORWARD DROP"*) knows_us "$rules" || echo "chain FORWARD of iptables-legacy";; esac
}

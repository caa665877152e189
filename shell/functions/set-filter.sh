# usage: set_filter RULE...
# Replaces $chain by these rules in one transaction, so that a rule deleted or added by hand is repaired too. Without
# rules the chain is removed.
# include: filter
set_filter() {
  {
    echo "*filter"
    [ $# -eq 0 ] || printf '%s\n' ":$chain -" ":OUTPUT ACCEPT"
    filter | sed -n "s/^-A INPUT -j $chain\$/-D INPUT -j $chain/p"
    if [ $# -gt 0 ]; then printf '%s\n' "$@"; else printf '%s\n' "-F $chain" "-X $chain"; fi
    echo COMMIT
  } | ip netns exec "$namespace" iptables-restore -w 10 --noflush
}

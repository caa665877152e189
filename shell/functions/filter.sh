# usage: filter
# Prints the rules of the table `filter` in $namespace, without quotes.
filter() { ip netns exec "$namespace" iptables-save -t filter | tr -d '"'; }

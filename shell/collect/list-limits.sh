# usage: list-limits.sh
cat /proc/sys/net/ipv4/neigh/default/gc_thresh3 2>/dev/null || echo 0
cd /proc/sys/net/netfilter 2>/dev/null && cat nf_conntrack_max nf_conntrack_tcp_timeout_time_wait
exit 0

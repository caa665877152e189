# usage: check-tunnel-flows.sh BRIDGE TABLE FLOW...
# Fails where the flows of the tunnel's bridge are not exactly these. Learned flows, which have no cookie, do not count.
bridge=$1 table=$2 newline='
'
shift 2
differing=$(printf '%s\n' "$@" | ovs-ofctl --timeout=20 --names diff-flows "$bridge" /dev/stdin)
case $? in 0 | 2) ;; *) exit 1;; esac
set -f
IFS=$newline
for line in $differing; do
  case $line in "-table=$table "*) ;; *) echo "the flows of $bridge are not those that were made" >&2; exit 1;; esac
done

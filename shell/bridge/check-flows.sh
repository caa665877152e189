# usage: check-flows.sh BRIDGE COOKIE FLOW...
# Fails where the flows with this cookie are not exactly these. `ovs-ofctl diff-flows` prints missing and further flows,
# each with its cookie. It also prints flows of other slices, which do not count (ovs-ofctl(8)).
bridge=$1 cookie=$2; shift 2
differing=$(printf '%s\n' "$@" | ovs-ofctl --timeout=20 --names diff-flows "$bridge" /dev/stdin)
case $? in 0 | 2) ;; *) exit 1;; esac
case $differing in *"cookie=$cookie "*) echo "the flows of $cookie are not those that were made" >&2; exit 1;; esac

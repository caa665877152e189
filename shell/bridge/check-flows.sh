# usage: check-flows.sh COOKIE FLOW...
# Fails where other flows have this cookie. diff-flows prints a difference with its cookie, in either direction; flows
# of other slices differ too (ovs-ofctl(8)).
cookie=$1; shift
differing=$(printf '%s\n' "$@" | ovs-ofctl --timeout=20 --names diff-flows br-int /dev/stdin)
case $? in 0 | 2) ;; *) exit 1;; esac
case $differing in *"cookie=$cookie "*) echo "the flows of $cookie are not those that were made" >&2; exit 1;; esac

# usage: join-taps.sh COUNT WORD...
# Sets the ports of TAPs, with their tags, by one transaction. The first COUNT words are the ports (`is_set`), the
# others the words for ovs-vsctl. A TAP that is up goes down first where its port is missing or wrong: without flows
# around the new port its frames would pass. A TAP without a link goes down last: ovs-vswitchd, which gives a port's
# device its old flags back, may not have noticed that it went down a moment before.
# include: list-ports
# include: is-up
# include: in-one-go
left=$1 raised='' loose=''; shift
while [ "$left" -gt 0 ]; do
  ! is_up "${1%%,*}" || raised="$raised $1"
  case $1 in *,-) loose="$loose ${1%,-}";; esac
  shift; left=$((left - 1))
done
if [ "$raised" ]; then
  list_ports || exit
  lower() {
    for wanted in $raised; do
      is_set "$wanted" || set -- "$@" "link set dev ${wanted%%,*} down"
    done
    [ $# -eq 0 ] || in_one_go "$@"
  }
  lower
fi
ovs-vsctl --timeout=20 "$@" || exit
set --
for tap in $loose; do ! is_up "$tap" || set -- "$@" "link set dev $tap down"; done
[ $# -eq 0 ] || in_one_go "$@"

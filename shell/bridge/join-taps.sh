# usage: join-taps.sh COUNT WORD...
# Sets the ports of TAPs by one transaction. The first COUNT words are the ports (`is_set`), the others the words for
# ovs-vsctl. A TAP that is up goes down first where its port is missing or wrong: without flows around the new port its
# frames would pass.
# include: list-ports
# include: is-up
# include: in-one-go
left=$1 raised=''; shift
while [ "$left" -gt 0 ]; do
  ! is_up "${1%%,*}" || raised="$raised $1"
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
ovs-vsctl --timeout=20 "$@"

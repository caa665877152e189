# usage: check-netem.sh
# Fails where the kernel cannot delay or lose frames: it is tried on the loopback of a network namespace of its own.
unshare --net tc qdisc add dev lo root netem delay 1ms 2>/dev/null || {
  echo "the kernel has no netem, which delay, jitter and loss need; install its module sch_netem \
(linux-modules-extra), or use only rate on this worker's ends" >&2
  exit 1
}

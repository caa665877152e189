# usage: least_used CORES NUMBER PIDFILE...
# Prints the CPUs on which the fewest of our processes may run, as a list; nothing where there are no more than CORES.
# Of CPUs used equally, the first one counted from NUMBER is taken. CPU 0 would be a bad choice: it has the host's own
# work, and workers on one machine share it.
least_used() {
  cores=$1 number=$2; shift 2
  awk -v cores="$cores" -v number="$number" '
    function place(cpu) { return (cpu + count - number % count) % count }
    function take(pid,   status, line, part, range, i, cpu) {
      status = "/proc/" pid "/status"
      while ((getline line <status) > 0)
        if (sub(/^Cpus_allowed_list:[ \t]*/, "", line))
          for (i = split(line, part, ","); i > 0; i--) {
            split(part[i] "-" part[i], range, "-")
            for (cpu = range[1] + 0; cpu <= range[2]; cpu++) uses[cpu]++
          }
      close(status)
    }
    BEGIN {
      take("self")
      for (cpu in uses) { own[cpu]; left++; if (cpu + 1 > count) count = cpu + 1 }
      if (left <= cores) exit
      for (i = 1; i < ARGC; i++) {
        if ((getline pid <ARGV[i]) > 0) take(pid)
        close(ARGV[i])
      }
      for (; cores > 0; cores--) {
        best = ""
        for (cpu in own)
          if (best == "" || uses[cpu] < uses[best] ||
              (uses[cpu] == uses[best] && place(cpu) < place(best))) best = cpu
        delete own[best]
        printf "%s%s", comma, best
        comma = ","
      }
    }' "$@"
}

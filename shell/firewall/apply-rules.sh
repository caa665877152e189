# usage: apply-rules.sh OWNER UPLINK RULE...
# Replaces all rules of ours by these, in one run of iptables-restore. Its input is made of rules that are there, an
# empty line, and rules that are wanted: the first go and the others come.
# include: rules
owner=$1 uplink=$2; shift 2
lines=$({ saved 'for (n = 1; n <= all; n++) if (ours[n]) print rules[n]'; echo; wanted "$@"; } | awk '
  NF == 0 { wants = 1; next }
  { table = $1; sub(/^[^ ]+ -A /, "") }
  wants { new[table] = "-I " $0 "\n" new[table]; next }
  { gone[table] = gone[table] "-D " $0 "\n" }
  END {
    split("mangle nat filter", tables)
    for (t = 1; t <= 3; t++)
      if (lines = gone[tables[t]] new[tables[t]]) printf "*%s\n%sCOMMIT\n", tables[t], lines
  }')
[ -z "$lines" ] || printf '%s\n' "$lines" | iptables-restore -w 10 --noflush

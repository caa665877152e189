# usage: rules-are-there.sh OWNER UPLINK RULE...
# Compares the rules of each chain up to the last one of ours, and so also those that others have put before it.
# include: rules
owner=$1 uplink=$2; shift 2
standing() {
  saved 'for (n = 1; n <= all; n++) if (ours[n]) last[chains[n]] = n
    for (t = 1; t <= 3; t++)
      for (n = 1; n <= all; n++)
        if (n <= last[chains[n]] && index(chains[n], tables[t] " ") == 1) print rules[n]'
}
[ "$(wanted "$@")" = "$(standing)" ]

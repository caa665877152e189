# usage: wanted RULE...; saved PROGRAM
# Prints the wanted rules of iptables, with the networks of $uplink in place of NEAR (`wanted`), or runs an awk(1)
# program on the saved ones (`saved`). The program finds the host's `rules` without quotes, their `chains`, and whether
# they are `ours` (have $owner as comment).
wanted() {
  for rule; do
    case $rule in
      *NEAR*)
        for near in $(ip -4 -o route show dev "$uplink" scope link | cut -d ' ' -f 1); do
          case $near in default) continue;; */*) ;; *) near=$near/32;; esac
          echo "${rule%%NEAR*}$near${rule#*NEAR}"
        done;;
      *) echo "$rule";;
    esac
  done
}
saved() {
  iptables-save | awk -v mark=" --comment $owner " '
    /^\*/ { table = substr($1, 2) }
    /^-A / { gsub(/"/, ""); rules[++all] = table " " $0; chains[all] = table " " $2; ours[all] = index($0, mark) }
    END { split("mangle nat filter", tables); '"$1"' }'
}

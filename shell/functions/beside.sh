# usage: beside FUNCTION [COUNT NAME WORD...]...
# Calls the function for each group of COUNT words, all side by side: while one waits for the kernel, others continue.
# Each group costs two forks, so this is for tens of groups. It waits for the end of all, also where no further process
# can be started. It fails where one of them fails: then the last line on standard error comes from that one, and begins
# with its name.
beside() {
  function=$1 running='' failed='' newline='
'
  shift
  trap wait EXIT
  while [ $# -gt 0 ]; do
    words='' number=1 last=$(($1 + 1))
    while [ $number -lt $last ]; do number=$((number + 1)) words="$words \"\${$number}\""; done
    {
      eval "said=\$($function $words 2>&1 >&3 3>&-)" || {
        case $said in *"$newline"*) printf '%s\n' "${said%"$newline"*}" >&2;; esac
        [ -z "$said" ] || printf '%s\n' "${2:+$2: }${said##*"$newline"}" >&2
        exit 1
      }
    } 3>&1 &
    running="$running $!"
    shift $last
  done
  for pid in $running; do wait "$pid" || failed=1; done
  [ -z "$failed" ]
}

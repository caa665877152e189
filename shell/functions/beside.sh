# usage: beside FUNCTION [COUNT NAME WORD...]...
# Calls the function for each group of COUNT words, all side by side: while one waits for the kernel, others go on. Each
# group costs two forks, so this is for tens of them. It fails where one of them fails; then the last line on standard
# error is of that one, and begins with its name. It ends after all that it began, also where no process can be started
# any more.
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

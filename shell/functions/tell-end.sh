# usage: tell_end NAME MESSAGES
# Writes on standard error that a process ended at once, with its last words. They may arrive a little later.
tell_end() {
  for _ in 1 2 3 4 5 6 7 8 9; do
    [ ! -s "$2" ] || break
    sleep 0.1
  done
  words=$(tail -n 1 "$2" 2>/dev/null); words=${words:+: $words}
  case $words in
  *[Kk][Vv][Mm]* | *ssertion*)
    words="$(printf %.150s "$words"); if KVM cannot run guests there, set hypervisor: {accel: tcg}";;
  esac
  echo "$1 ended at once${words:-, with no output: are memory and processes left for its user?}" >&2
}

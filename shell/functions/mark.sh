# usage: mark NUMBER STATUS [ACCEPTED]
# Writes a marker with the status of a command on both streams. Returns 100 where the status is none of ACCEPTED (words,
# or 0): the batch stops there.
# shellcheck disable=SC2154 # a batch sets $nonce before
mark() {
  printf '\n%s %s %s\n' "$nonce" "$1" "$2"; printf '\n%s %s %s\n' "$nonce" "$1" "$2" >&2
  case " ${3-0} " in *" $2 "*) ;; *) return 100;; esac
}

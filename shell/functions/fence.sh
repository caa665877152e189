# usage: fence FILE NUMBER REASON
# Keeps the NUMBER of a claim in FILE, or fails with the REASON where FILE has a higher one. Then another manager has
# begun a later change, and this batch is late. Sets $refusal: `old` for a late batch, `busy` where FILE cannot be
# written. The caller holds the lock of these batches.
# shellcheck disable=SC2034 # the batch that follows reads it
fence() {
  local last=0; refusal=busy
  [ ! -e "$1" ] || read -r last <"$1" || :
  case $last in '' | *[!0-9]*) last=0;; esac
  [ "$2" -ge "$last" ] || { refusal=old; echo "$3" >&2; return 1; }
  [ "$2" -eq "$last" ] || { echo "$2" >"$1.new" && mv -f "$1.new" "$1"; } 2>/dev/null ||
    { echo "$1 cannot be written; is /run full?" >&2; return 1; }
}

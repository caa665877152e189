# usage: list-states.sh FOLDER
# Prints for each QMP socket in the folders of slices its path and the answer to query-status, or `closed`. It runs
# under timeout(1), which ends the dialogs and tells this shell.
# include: converse
trap : TERM
set -- "$1"/slice-*/*.qmp
[ -S "$1" ] || [ $# -gt 1 ] || exit 0
left=$#
while [ $left -gt 0 ]; do
  converse "$1" "$1" '{"execute": "query-status"}' 2>/dev/null &
  set -- "$@" "$1" $!
  shift; left=$((left - 1))
done
while [ $# -gt 0 ]; do
  wait "$2" 2>/dev/null || echo "$1 closed"
  shift 2
done

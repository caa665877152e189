# usage: check-no-reservations.sh FOLDER
[ ! -e "$1" ] ||
  { echo "$1 holds what is not known to be a slice's: $(echo $(ls -A "$1"))" >&2; exit 1; }

# usage: check-no-reservations.sh FOLDER
folder=$1
[ ! -e "$folder" ] || {
  # shellcheck disable=SC2005,SC2046 # echo puts all names on one line
  echo "$folder holds what is not known to be a slice's: $(echo $(ls -A "$folder"))" >&2
  exit 1
}

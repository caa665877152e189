# usage: check-no-reservations.sh FOLDER
# Fails where the folder of reservations still has files: they are not known to be a slice's.
folder=$1
[ ! -e "$folder" ] || {
  # shellcheck disable=SC2005,SC2046 # echo puts all names on one line
  echo "$folder holds what is not known to be a slice's: $(echo $(ls -A "$folder"))" >&2
  exit 1
}

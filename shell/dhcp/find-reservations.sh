# usage: find-reservations.sh FILE
# Prints the name of the file, where it has reservations.
[ ! -s "$1" ] || echo "$1"

# usage: list-files.sh FOLDER
[ -e "$1" ] || exit 0
[ -r "$1" ] || exit
find "$1/" -mindepth 1 -maxdepth 2 -printf '%y %s %T@ %P\n' 2>/dev/null
echo
grep -sH '' "$1"/slice-*/*.pid "$1"/.*.seal
exit 0

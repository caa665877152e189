# usage: list-files.sh FOLDER
# Prints the files in the folder of images and in those of slices, with type, size and time. Then prints the content of
# pid files and of kept fingerprints, and the seeds that others could read. A folder that does not exist has no files.
[ -e "$1" ] || exit 0
[ -r "$1" ] || exit
find "$1/" -mindepth 1 -maxdepth 2 -printf '%y %s %T@ %P\n' 2>/dev/null
echo
grep -sH '' "$1"/slice-*/*.pid "$1"/.*.seal
grep -sH '^qemu_system_shutdown_request ' "$1"/slice-*/*.qemu
find "$1/" -mindepth 2 -maxdepth 2 -name '*.seed' ! -perm 600 -printf '%p:open\n' 2>/dev/null
exit 0

# usage: list-images.sh FOLDER
# Prints the size and name of each base image in the folder of images. A folder that does not exist has none.
[ -e "$1" ] || exit 0
[ -r "$1" ] || exit
find "$1/" -mindepth 1 -maxdepth 1 -type f ! -name '.*' ! -name '*[[:cntrl:]]*' -printf '%s %f\n'

# usage: write-seed.sh SEED
# Writes a seed, which comes packed and in base64 on standard input. It gets its name when it is whole.
umask 077
rm -f "$1.part"
base64 -d | gzip -dc >"$1.part" && mv -fT "$1.part" "$1"

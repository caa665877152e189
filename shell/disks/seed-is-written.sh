# usage: seed-is-written.sh SEED DIGEST PIDFILE MARK
# Succeeds where the seed is there, readable by its owner only, with the SHA-256 DIGEST. A VM that runs keeps the seed
# that it was started with.
# include: runs
[ -f "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %a:%u "$1")" = "600:$(id -u)" ] || exit 1
runs "$3" "$4" || [ "$(sha256sum "$1")" = "$2  $1" ]

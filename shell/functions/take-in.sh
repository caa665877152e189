# usage: take_in NONCE PART TARGET SIZE STILL_SECONDS CHECK...
# Receives a file on standard input. Status 10: another process has brought it meanwhile.
#
# - The lock is on the folder, so it leaves no file behind. A manager that died may hold it for hours, until its host
#   notices; therefore a file that does not grow is not waited for.
# - The program knows its file by the descriptor (proc(5), /proc/pid/fd), because another process may have taken the
#   name. link(2) never replaces an existing file.
# - The digest is read from the written file: a pipe would cost more. OpenSSL's takes a quarter of the time of
#   coreutils'. On a slow disk it takes minutes, so the program prints a line each second and is not given up.
# - Blocks are as large as the packets of SSH: with 256 KiB, copies to two hosts took 1.3 times as long.
# - The file is opened for writing once. dd(1) truncates a file that it opens itself, and ext4 then writes all of it to
#   the disk at close (auto_da_alloc in ext4(5)); the next overlay would wait for that. The price: a worker that loses
#   power within half a minute may lose the content. It keeps an empty file, which is replaced, or a file that differs
#   from its fingerprint.
take_in() {
  nonce=$1 part=$2 target=$3 size=$4 still_seconds=$5; shift 5
  fail() { printf '%s\n' "$*" >&2; exit 1; }
  exec 9<"${target%/*}"
  before='' still=0
  until flock -w 1 9; do
    echo "$nonce wait"
    now=$(stat -c '%n %s' "${target%/*}"/.*.part 2>/dev/null)
    [ "$now" = "$before" ] || still=0 before=$now
    still=$((still + 1))
    [ $still -le "$still_seconds" ] || break
  done
  [ ! -s "$target" ] || exit 10
  rm -f "$part" && exec 8>"$part" || exit
  saying=
  trap '[ ! "$part" -ef /proc/self/fd/8 ] || rm -f "$part"; [ -z "$saying" ] || kill "$saying"' EXIT
  trap 'exit 1' HUP INT PIPE TERM
  file=/proc/$$/fd/8
  echo "$nonce send"
  dd bs=32k count="$size" iflag=count_bytes,fullblock status=none >&8 || fail "is the disk full?"
  [ "$(stat -L -c %s "$file")" = "$size" ] || fail "it did not arrive whole"
  while sleep 1 >/dev/null 2>&1 8>&- 9<&-; do echo "$nonce wait"; done &
  saying=$!
  read -r digest
  found=$(openssl dgst -sha256 -r "$file" 2>/dev/null || sha256sum "$file")
  [ "${found%% *}" = "$digest" ] || fail "it arrived damaged; try again"
  [ $# -eq 0 ] || "$@" || exit
  [ -s "$target" ] || rm -f "$target"
  said=$(ln -L "$file" "$target" 2>&1) || {
    [ -e "$target" ] || fail "it cannot be given its name: ${said##*: }"
    [ "$(stat -c %s "$target")" = "$size" ] || fail "a file of that name and another size is there, remove it"
  }
}

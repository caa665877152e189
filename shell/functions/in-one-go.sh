# usage: in_one_go LINE...
# Gives all lines to one ip(8). The last line that a failed ip prints is only the number of a line.
in_one_go() {
  said=$(printf '%s\n' "$@" | ip -batch - 2>&1) || { printf '%s\n' "${said%Command failed*}" >&2; exit 1; }
}

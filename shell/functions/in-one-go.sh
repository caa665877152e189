# usage: in_one_go LINE...
# Gives all lines to one ip(8). The last line that ip prints is the number of a line, which no reader needs.
in_one_go() {
  said=$(printf '%s\n' "$@" | ip -batch - 2>&1) || { printf '%s\n' "${said%Command failed*}" >&2; exit 1; }
}

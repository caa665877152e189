# usage: look; routes_well; line_of DEVICE; is_here DEVICE; is_right DEVICE ADDRESS MAC
# Reads the devices of $namespace ("" is the root namespace) into $there: each with `up`, its MAC and its addresses on
# one line, and before them, whether packets are routed. A new namespace routes if its host does (ip-sysctl:
# devconf_inherit_init_net), and guests could reach others; $routes is the value that is wanted, or empty.
# include: ipv6
newline='
'
look() {
  there=$(printf 'netconf\naddr\n' | ip ${namespace:+-n "$namespace"} -batch - |
    while read -r first second third fourth rest; do
    case "$first $second $fourth" in
      "inet all on") echo "routes 1";;
      "inet all "*) echo "routes 0";;
      *": "*) printf '\n%s' "${second%%[:@]*}"; case $third in *[,\<]UP[,\>]*) printf ' up';; esac;;
      link/* | inet\ *.*) printf ' %s' "$second";;
    esac
  done)
}
routes_well() { [ -z "$routes" ] || case $there in "routes $routes$newline"*) ;; *) return 1;; esac; }
line_of() {
  line=${there#*"$newline$1 "}
  [ "$line" != "$there" ] && line=" ${line%%"$newline"*} "
}
is_here() { [ -e "/sys/class/net/$1" ]; }
is_right() {
  if [ "$namespace" ]; then ! is_here "$1"; else has_no_ipv6 "$1"; fi && line_of "$1" || return
  for word in up "$2" $3; do
    case $line in *" $word "*) ;; *) return 1;; esac
  done
}

# usage: forget LINK...
# Removes our links and logs in /tmp, where every user may create any name. Ours are links of root to our logs, and logs
# that older versions left there: they belong to the user of dnsmasq, never to a person.
forget() {
  for link; do
    shift
    if [ -h "$link" ] || [ -f "$link" ]; then set -- "$@" "$link"; fi
  done
  [ $# -eq 0 ] || find "$@" -maxdepth 0 \
    \( -type l -user root -lname '/run/*/log' -o -type f \( -uid -1000 -o -uid 65534 \) \) -delete
}

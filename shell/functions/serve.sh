# usage: serve NAMESPACE PIDFILE MARK LOG LINK COMMAND...
# Starts dnsmasq where none serves. The link is made where nothing has its name: a foreign file keeps its name and is
# never followed. A guest can ask for addresses all day: a write beyond the limit of 128 KiB fails, and dnsmasq
# continues without its log (setrlimit(2)).
# include: end
# include: serves
# include: forget
serve() {
  ! serves "$@" || exit 0
  end TERM "$2" "$3" || exit
  namespace=$1 log=$4 link=$5; shift 5
  [ ! -e "$log" ] || rm -f "$log" || exit
  [ -h "$link" ] || [ ! -f "$link" ] || forget "$link"
  [ -h "$link" ] || [ -e "$link" ] || ln -sT "$log" "$link" 2>/dev/null
  trap "" XFSZ; ulimit -f 256 || exit
  echo "${namespace##*[!0-9]}"
  exec ip netns exec "$namespace" "$@"
}

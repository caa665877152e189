# usage: capture-packets.sh NAME OWNER TAP FORM COUNT SECONDS KEPT_BYTES FILTER_SECONDS FILTER
# Captures packets of a guest's TAP as a file of pcap, or with FORM `text` as a line for each. It is read by `sh -s`,
# and the braces make the shell read all of it before it runs. It ends with its input, or after SECONDS.
#
# No tcpdump runs as root. One compiles FILTER first, as the SSH user, and where there is no network: no name in FILTER
# is looked up. One captures, as that user with the right to open the TAP. A third one turns what guests have sent into
# text, and has no right at all. A capture holds a lock on the kernel's folder of its TAP, so it leaves no file.
# include: is-ours
{
name=$1 owner=$2 tap=$3 form=$4 count=$5 seconds=$6 kept=$7 limit=$8 filter=$9
export LC_ALL=C
answer() { printf '\n%s %s\n' "$name" "$*"; }
refuse() { answer "$@"; exit; }
compiled() {
  (ulimit -v 262144
  exec unshare --net -- setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --clear-groups --no-new-privs \
    --bounding-set=-all -- timeout -k 1 "$limit" \
    tcpdump -y EN10MB -s "$kept" -d -- "$filter") 2>&1 >/dev/null </dev/null
}
watch() {
  while read -r _; do :; done
  kill "$1"
}
capture() {
  (ulimit -v 262144
  exec setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --clear-groups --no-new-privs --bounding-set=-all,+net_raw \
    --inh-caps=-all,+net_raw --ambient-caps=-all,+net_raw -- timeout -k 2 "$seconds" \
    tcpdump -nn -p -i "$tap" -s "$kept" -U -c "$count" -w - -- "$filter") 3<&- &
  capture=$!
  watch $capture <&3 >/dev/null 2>&1 9<&- &
  watcher=$!
  wait $capture
  answer $? >&2
  kill $watcher 2>/dev/null
}
as_text() {
  (ulimit -v 262144 && ulimit -t 60
  exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all -- \
    tcpdump -nn -l -r - 2>/dev/null) 3<&- 9<&-
}
command -v tcpdump >/dev/null || refuse tcpdump
said=$(compiled) || {
  case $? in 124 | 137) refuse slow;; esac
  case $said in *tcpdump:*) why=filter;; *) why=failed;; esac
  refuse "$why" "$(printf '%s' "$said" | tail -n 1)"
}
is_ours "$tap" || refuse tap
{ command exec 9<"/sys/class/net/$tap"; } 2>/dev/null || refuse tap
{ read -r carrier <"/sys/class/net/$tap/carrier"; } 2>/dev/null || refuse down
[ "$carrier" = 1 ] || refuse off
flock -n 9 || refuse busy
exec 3<&0
answer ready
if [ "$form" = text ]; then capture | as_text; else capture; fi
exit
}

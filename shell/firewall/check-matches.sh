# usage: check-matches.sh
# Fails where iptables lacks a match of our rules. It looks for a rule that is not there, which changes nothing; the
# complaint about a match is on the first line.
said=$(iptables -C INPUT -m u32 --u32 0=0 -m connlimit --connlimit-above 1 \
  -m hashlimit --hashlimit-above 1/sec --hashlimit-mode srcip --hashlimit-name none \
  -m conntrack --ctstate NEW -m mac --mac-source 02:00:00:00:00:00 -m addrtype ! --src-type LOCAL \
  -m comment --comment none -j DROP 2>&1)
case $said in
  *"load match"* | *"kernel module"*)
    echo "iptables cannot do what keeps guests apart; install its extensions and the kernel's modules of that name" \
      "(${said%%"
"*})" >&2; exit 1;;
esac

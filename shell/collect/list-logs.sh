# usage: list-logs.sh
# Lists names of our logs in /tmp; other users can create as many as they want there.
find /tmp -maxdepth 1 -regextype posix-extended -regex '/tmp/dnsmasq_vlan[0-9]{1,4}\.log' \
  \( \( -type l -user root -lname '/run/*/log' -o -type f \( -uid -1000 -o -uid 65534 \) \) \
    -printf 'ours %f\n' -o -printf 'foreign %f\n' \)

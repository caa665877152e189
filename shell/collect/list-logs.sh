# usage: list-logs.sh
# Prints the names of our logs in /tmp, and of foreign files with such a name: other users can create any number of them
# there.
find /tmp -maxdepth 1 -regextype posix-extended -regex '/tmp/dnsmasq_vlan[0-9]{1,4}\.log' \
  \( \( -type l -user root -lname '/run/*/log' -o -type f \( -uid -1000 -o -uid 65534 \) \) \
    -printf 'ours %f\n' -o -printf 'foreign %f\n' \)

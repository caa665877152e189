# usage: remove-log-links.sh LINK...
# Removes our links to logs of DHCP servers in /tmp.
# include: forget
forget "$@"

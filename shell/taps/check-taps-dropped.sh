# usage: check-taps-dropped.sh TABLE LISTING TAPS
# Fails where the nftables table is not as the listing says. Versions of nft differ in white space at most.
set -f; [ "$(echo $(nft list table inet "$1" 2>/dev/null))" = "$2" ] ||
  { echo "nftables has not the table $1 as it was made: TAPs reach this host's IP stack" >&2; exit 1; }

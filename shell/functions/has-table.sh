# usage: has_table TABLE LISTING
# Succeeds where nft lists the table as LISTING, which has single spaces: versions of nft differ at most in spaces and
# line ends.
has_table() {
  set -f
  # shellcheck disable=SC2005,SC2046 # echo puts one space between the words
  [ "$(echo $(nft list table inet "$1" 2>/dev/null))" = "$2" ]
}

# usage: find-filter
# Sets $found to the rules of $chain, the rule that leads to it, and the policy of the chain INPUT.
# include: filter
find_filter() {
  found=$(filter | sed -n -e 's/^\(:INPUT DROP\) .*/\1/p' -e "/^-A INPUT -j $chain\$/p" -e "/^-A $chain /p")
}

# usage: filter-has-rules.sh NAMESPACE CHAIN RULE...
# Succeeds where the chain has these rules, is reached by one rule, and everything else is dropped. Some versions write
# MACs in capitals.
namespace=$1 chain=$2; shift 2
# include: filter
found=$(filter | sed -n -e 's/^\(:INPUT DROP\) .*/\1/p' -e "/^-A INPUT -j $chain\$/p" -e "/^-A $chain /p")
[ "$(printf '%s\n' "$@" | tr A-Z a-z)" = "$(printf '%s\n' "$found" | tr A-Z a-z)" ]

# usage: filter-has-rules.sh NAMESPACE CHAIN RULE...
# Succeeds where the chain has these rules, is reached by one rule, and everything else is dropped. Some versions write
# MACs in capitals.
# include: find-filter
namespace=$1 chain=$2; shift 2
find_filter
small() { printf '%s\n' "$@" | tr '[:upper:]' '[:lower:]'; }
[ "$(small "$@")" = "$(small "$found")" ]

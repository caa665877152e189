# usage: set-filter.sh NAMESPACE CHAIN RULE...
# Replaces the rules of the chain in the namespace; without rules the chain is removed.
# include: set-filter
namespace=$1 chain=$2; shift 2
set_filter "$@"

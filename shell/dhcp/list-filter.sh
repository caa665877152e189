# usage: list-filter.sh NAMESPACE CHAIN
# Prints the rules of the chain and what leads to it, or nothing where there is no such chain.
# include: find-filter
namespace=$1 chain=$2; shift 2
find_filter
case $found in *" $chain"*) printf '%s\n' "$found";; esac

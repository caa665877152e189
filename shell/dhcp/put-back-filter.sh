# usage: put-back-filter.sh NAMESPACE CHAIN
# Reads the rules that the chain had, and sets them again. Where there were none the chain is removed.
# include: set-filter
namespace=$1 chain=$2; shift 2
while read -r rule; do set -- "$@" "$rule"; done
set_filter "$@"

# usage: set-filter.sh NAMESPACE CHAIN RULE...
# include: set-filter
namespace=$1 chain=$2; shift 2
set_filter "$@"

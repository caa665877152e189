# usage: filter-is-gone.sh NAMESPACE CHAIN
# Succeeds where the table `filter` of the namespace has no such chain.
# include: filter
namespace=$1 chain=$2; shift 2
! filter | grep -q "^:$chain "

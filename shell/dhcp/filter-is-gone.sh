# usage: filter-is-gone.sh NAMESPACE CHAIN
# include: filter
namespace=$1 chain=$2; shift 2
! filter | grep -q "^:$chain "

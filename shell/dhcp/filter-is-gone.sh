# usage: filter-is-gone.sh NAMESPACE CHAIN
namespace=$1 chain=$2; shift 2
# include: filter
! filter | grep -q "^:$chain "

# usage: list-barriers.sh GATEWAY NETWORK
inside=$1 network=$2
# include: barriers
barriers

# usage: list-barriers.sh GATEWAY NETWORK
# include: barriers
inside=$1 network=$2
barriers

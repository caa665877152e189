# usage: stop-servers.sh [NAMESPACE LINK FILE]...
# Ends DHCP servers and removes their files and links. FILE: reservations that are removed too, or nothing. A server
# that does not end keeps its pid file: without it the process would be forgotten. Names of ours have no blanks.
# include: end
# include: forget
left=$(($# / 3)) links='' files=''
while [ $left -gt 0 ]; do
  folder=/run/$1 links="$links $2" files="$files /run/$1/pid /run/$1/log $3"
  shift 3; left=$((left - 1))
  set -- "$@" "$folder/pid" "--pid-file=$folder/pid"
done
# shellcheck disable=SC2086 # each path is a word
end TERM "$@" && rm -f $files && forget $links

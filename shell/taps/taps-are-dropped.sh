# usage: taps-are-dropped.sh TABLE LISTING TAP...
# Succeeds where the nftables table drops the frames of the TAPs. Before the first TAP there is no table, and no process
# has to run to find that out.
# include: has-table
table=$1 listing=$2; shift 2
for tap; do
  [ ! -e "/sys/class/net/$tap" ] || { has_table "$table" "$listing"; exit; }
done
exit 1

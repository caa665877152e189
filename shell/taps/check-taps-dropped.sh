# usage: check-taps-dropped.sh TABLE LISTING
# Fails where the nftables table does not drop what TAPs send to this host.
# include: has-table
table=$1 listing=$2
has_table "$table" "$listing" ||
  { echo "nftables has not the table $table as it was made: TAPs reach this host's IP stack" >&2; exit 1; }

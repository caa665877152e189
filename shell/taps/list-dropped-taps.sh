# usage: list-dropped-taps.sh TABLE
# Prints the table as nft reads it, or nothing where there is none.
nft list table inet "$1" 2>/dev/null || :

# usage: has-no-nft.sh
# Succeeds where nft(8) is not installed: then no table of ours can exist.
! command -v nft >/dev/null

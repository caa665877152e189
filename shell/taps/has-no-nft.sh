# usage: has-no-nft.sh
! command -v nft >/dev/null

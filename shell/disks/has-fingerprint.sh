# usage: has-fingerprint.sh FILE FINGERPRINT
# include: fingerprint
has_fingerprint "$1" "$2"

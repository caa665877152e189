# usage: has-fingerprint.sh FILE FINGERPRINT
# Succeeds where the file still has the fingerprint that the file FINGERPRINT holds.
# include: fingerprint
has_fingerprint "$1" "$2"

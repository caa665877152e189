# usage: has-fingerprint.sh FILE FINGERPRINT
[ "$(stat -c '%s %Y' "$1" 2>/dev/null)" = "$(cat "$2" 2>/dev/null)" ]

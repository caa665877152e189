# usage: fingerprint_of FILE; has_fingerprint FILE KEPT
# The fingerprint of a base image is its size and time of change; KEPT is the file that holds it.
fingerprint_of() { stat -c '%s %Y' "$1"; }
has_fingerprint() { [ "$(fingerprint_of "$1" 2>/dev/null)" = "$(cat "$2" 2>/dev/null)" ]; }

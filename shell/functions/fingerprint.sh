# usage: fingerprint_of FILE; has_fingerprint FILE KEPT
# Prints the fingerprint of a base image, or succeeds where the image still has the fingerprint in the file KEPT. A
# fingerprint is the size and the time of change.
fingerprint_of() { stat -c '%s %Y' "$1"; }
has_fingerprint() { [ "$(fingerprint_of "$1" 2>/dev/null)" = "$(cat "$2" 2>/dev/null)" ]; }

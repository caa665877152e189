# usage: check-image.sh FILE LABEL ADVICE FINGERPRINT
# Checks an image before it gets its name, and writes its fingerprint.
# include: require-whole
# include: fingerprint
file=$1 label=$2 advice=$3 fingerprint=$4

require_whole "$file" "$label" "$advice"
fingerprint_of "$file" >"$fingerprint"

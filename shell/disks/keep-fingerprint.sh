# usage: keep-fingerprint.sh IMAGE LABEL ADVICE PREPARED FINGERPRINT
# Keeps the fingerprint of a base image from its first use on, and fails where the image is another one now. PREPARED is
# the fingerprint that the slice made of the image before it got its name: such an image need not be looked at again.
# include: require-same
# include: require-whole
image=$1 label=$2 advice=$3 prepared=$4 fingerprint=$5

if [ -s "$fingerprint" ]; then require_same "$image" "$fingerprint"; exit; fi
if [ ! -s "$prepared" ] || ! has_fingerprint "$image" "$prepared"; then
  require_whole "$image" "$label" "$advice"
  fingerprint_of "$image" >"$prepared" || exit
fi
mv "$prepared" "$fingerprint" 2>/dev/null || [ -s "$fingerprint" ]

# usage: taps-are-up.sh TAP...
# Succeeds where each TAP is up.
# include: is-up
for tap; do
  is_up "$tap" || exit
done

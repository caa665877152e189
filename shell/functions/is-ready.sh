# usage: is_ready TAP
# Succeeds where the TAP is ours ($owner), silent, and up; 1 is IFF_UP.
# include: is-ours
# include: silence
is_ready() { is_ours "$1" && is_silent "$1" && [ $((flags & 1)) = 1 ]; }

# usage: is_made STATE TAP; is_ready STATE TAP
# Succeeds where the TAP is ours ($owner) and silent, and not up where its STATE is `down` (`is_made`). For `is_ready`
# it has to be up where its STATE is `up`. 1 is IFF_UP (netdevice(7)).
# include: is-ours
# include: silence
is_made() { is_ours "$2" && is_silent "$2" && { [ "$1" = up ] || [ $((flags & 1)) = 0 ]; }; }
is_ready() { is_made "$1" "$2" && { [ "$1" = down ] || [ $((flags & 1)) = 1 ]; }; }

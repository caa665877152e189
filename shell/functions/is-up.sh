# usage: is_up TAP
# Succeeds where the TAP is there and up; 1 is IFF_UP (netdevice(7)).
is_up() { { read -r flags <"/sys/class/net/$1/flags"; } 2>/dev/null && [ $((flags & 1)) = 1 ]; }

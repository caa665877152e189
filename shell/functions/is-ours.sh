# usage: is_ours TAP
# Succeeds where the alias of the TAP is $owner: a TAP of ours is known by it, also when its port is gone. `read` fails
# for an empty file of the kernel.
is_ours() { { read -r alias <"/sys/class/net/$1/ifalias"; } 2>/dev/null && [ "$alias" = "$owner" ]; }

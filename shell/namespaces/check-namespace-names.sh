# usage: check-namespace-names.sh NAMESPACE...
# Fails where a namespace is there and is not ours.
for namespace; do
  [ ! -e "/run/netns/$namespace" ] || [ -d "/run/$namespace" ] ||
    { echo "a namespace $namespace is there that is not ours; remove it or give it another name" >&2; exit 1; }
done

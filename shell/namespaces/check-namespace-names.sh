# usage: check-namespace-names.sh NAMESPACE...
# Prints the namespaces that exist, and those of their DHCP servers that run. Fails where a namespace is not ours.
# include: runs
for namespace; do
  if [ -d "/run/$namespace" ]; then
    echo "$namespace"
    ! runs "/run/$namespace/pid" "--pid-file=/run/$namespace/pid" ||
      echo "dnsmasq of VLAN ${namespace##*[!0-9]}"
  elif [ -e "/run/netns/$namespace" ]; then
    echo "a namespace $namespace is there that is not ours; remove it or give it another name" >&2; exit 1
  fi
done

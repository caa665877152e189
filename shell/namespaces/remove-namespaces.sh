# usage: remove-namespaces.sh NAMESPACE...
# Removes those of the namespaces that are ours, and their folders. A namespace with a running DHCP server stays: its
# folder has the pid file, and without it the process would be forgotten.
# include: runs
folders='' lines='' newline='
'
for name; do
  [ -d "/run/$name" ] || continue
  ! runs "/run/$name/pid" "--pid-file=/run/$name/pid" || continue
  folders="$folders /run/$name"
  [ ! -e "/run/netns/$name" ] || lines="${lines}netns del $name$newline"
done
# shellcheck disable=SC2086 # each folder is a word
printf %s "$lines" | ip -batch - && rm -rf $folders

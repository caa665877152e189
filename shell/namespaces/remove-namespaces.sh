# usage: remove-namespaces.sh NAMESPACE...
# Removes those of the namespaces that are ours, and their folders.
folders='' lines=''
for name; do
  [ -d "/run/$name" ] || continue
  folders="$folders /run/$name"
  [ ! -e "/run/netns/$name" ] || lines="${lines}netns del $name\n"
done
printf "$lines" | ip -batch - && rm -rf $folders

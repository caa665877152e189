# usage: repeat-first-boot.sh ROOT
# Lets cloud-init repeat a first boot that lost its power before the disk had all of it. Then files are empty, keys of
# sshd among them, though each part of that boot is marked as done: a mark that is empty itself gives it away. Files of
# the skeleton come back where those in a home are empty, because cloud-init writes them only with a new account. ROOT
# is empty but in tests.
instance=$1/var/lib/cloud/instance
[ ! -s "$instance/first-boot-is-kept" ] || exit 0
for file in "$instance"/sem/config_* "$1"/etc/ssh/ssh_host_*; do
  if [ -f "$file" ] && [ ! -s "$file" ]; then cut=yes; fi
done
[ "${cut:-}" ] || exit 0
echo "The first boot was cut off: it is repeated"
rm -f "$instance"/sem/config_*
for file in "$1"/etc/skel/.[!.]*; do
  for own in "$1"/home/*/"${file##*/}"; do
    if [ -f "$file" ] && [ -f "$own" ] && [ ! -L "$own" ] && [ ! -s "$own" ]; then cat "$file" >"$own"; fi
  done
done

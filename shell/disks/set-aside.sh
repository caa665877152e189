# usage: set-aside.sh DISK...
# Gives disks of a VM the ending .old until new ones are in use. One that was set aside before stays.
for disk; do
  [ ! -e "$disk" ] || [ -e "$disk.old" ] || mv "$disk" "$disk.old" || exit
done

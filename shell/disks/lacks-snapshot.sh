# usage: lacks-snapshot.sh TAG DISK...
# Succeeds where no disk has a snapshot with this tag.
# include: has-snapshot
tag=$1; shift
for disk; do ! has_snapshot "$tag" "$disk" || exit 1; done

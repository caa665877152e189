# usage: check-free-disks.sh FOLDER ELSEWHERE [PATH WORD]...
# Fails where the name of a new disk is taken. ELSEWHERE is a number of pairs, which come first: a mark of the slice on
# another worker, and that worker. A mark that is here too says that both workers have one folder. Then come pairs of an
# overlay and its mark. FOLDER is the folder of the slice where it may hold only these files, else empty.
folder=$1 elsewhere=$2 taken=''; shift 2

while [ "$elsewhere" -gt 0 ]; do
  mark=$1 worker=$2; shift 2
  [ ! -e "$mark" ] || {
    echo "${mark%/*/*} there is the folder that $worker has, too; give each worker its own (hypervisor: images_dir)" >&2
    exit 1
  }
  elsewhere=$((elsewhere - 1))
done
while [ $# -gt 0 ]; do
  overlay=$1 mark=$2; shift 2
  if [ -e "$mark" ]; then folder=; elif [ -e "$overlay" ]; then taken=$overlay; fi
done
[ ! -e "$folder" ] || taken=$folder
[ -z "$taken" ] || {
  echo "$taken is there already, of a slice that database.yaml does not know (was an older version put back?); create\
 another slice and delete this one, then an operator removes it with: python3 cli.py doctor --fix" >&2
  exit 1
}

# usage: measure-worker.sh FOLDER
# Prints cores, memory, free disk, disk of our overlays (these three in KiB), and the time.
folder=$1; [ -d "$folder" ] || folder=.
nproc
sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo
df --output=avail -k "$folder" | tail -n 1
du -sck "$folder"/slice-* 2>/dev/null | tail -n 1 | cut -f 1
date +%s

# usage: measure-host.sh FOLDER
# Prints cores, memory, available memory, free disk, disk of our overlays (these four in KiB), and the time: a name and
# a number on each line.
folder=$1 newline='
'
[ -d "$folder" ] || folder=.
echo "cores $(nproc)"
while read -r name kib _; do
  case $name in
    MemTotal:) echo "memory $kib";;
    MemAvailable:) echo "available $kib"; break;;
  esac
done </proc/meminfo
free=$(df --output=avail -k "$folder")
echo "disk ${free##*[!0-9]}"
overlays=$(du -sck "$folder"/slice-* 2>/dev/null)
overlays=${overlays##*"$newline"}
echo "overlays ${overlays%%[!0-9]*}"
date '+clock %s'

# usage: measure-room.sh FOLDER
folder=$1; [ -d "$folder" ] || folder=.
df --output=avail -k "$folder" | tail -n 1
sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo

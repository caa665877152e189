# usage: list-marks.sh
# Prints our folders in /run, then the pids and reservations that they hold, each line behind the name of its file.
for folder in /run/ns-*; do [ ! -d "$folder" ] || echo "$folder"; done
echo
grep -sH '' /run/ns-*/pid /run/ns-*/hosts/*
for file in /run/ns-*/hosts/*; do [ ! -f "$file" ] || [ -s "$file" ] || echo "$file:"; done
exit 0

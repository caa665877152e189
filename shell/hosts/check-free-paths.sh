# usage: check-free-paths.sh PATH...
# Fails where one of the paths exists: it belongs to a slice that was forgotten.
for path; do
  [ ! -e "$path" ] || {
    echo "$path is there already, of a slice that database.yaml does not know (was an older version put back?);\
 have the operator remove it with: python3 cli.py doctor --fix" >&2
    exit 1
  }
done

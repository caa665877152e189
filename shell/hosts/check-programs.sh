# usage: check-programs.sh PROGRAM...
# Fails where a program is not installed, or the SSH user is root.
[ "${SUDO_UID-1}" != 0 ] || {
  echo "the SSH user is root there, and QEMU would run as root; name another one in ssh: user" >&2; exit 1
}
missing=
for program; do command -v "$program" >/dev/null || missing="$missing $program"; done
[ -z "$missing" ] || { echo "not installed:$missing (docs/install-hosts.md lists the packages)" >&2; exit 1; }

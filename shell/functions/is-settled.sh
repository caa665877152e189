# usage: is_settled NAMESPACE FOLDER RULES
# Succeeds where no device of the namespace has IPv6, and nft lists the rules. /proc/sys/net shows the settings of the
# network namespace in which it is opened.
is_settled() {
  # shellcheck disable=SC2016 # a program for the shell in the namespace
  nsenter --net="/run/netns/$1" sh -c 'for each in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
      off=1; [ ! -e "$each" ] || read -r off <"$each"
      [ "$off" = 1 ] || exit
    done
    set -f; [ "$1" ] || exit 0
    case " $(echo $(nft -t list ruleset)) " in *" $1 "*) ;; *) exit 1;; esac' sh "$3"
}

# usage: count-objects.sh IMAGES
# Prints the objects of VMs and networks on a host: a line for each kind, its number behind a tab.
images=$1

count() { printf '%s\t%s\n' "$1" "$(grep -c "$2")"; }
ports() { ovs-vsctl --timeout=20 --format=csv --no-headings --columns=name,tag list Port; }

cat /proc/[0-9]*/comm 2>/dev/null | count 'QEMU processes' '^qemu-system'
cat /proc/[0-9]*/comm 2>/dev/null | count 'dnsmasq processes' '^dnsmasq$'
ss -Hlt4n 'sport >= 5901 and sport < 6000' | count 'VNC ports' '^LISTEN'
find /sys/class/net -mindepth 1 -printf '%f\n' | count 'TAPs' '^tap_'
ports | count 'tagged ports of VMs' '^tap_.*,[0-9]'
ports | grep -v ^tap_ | count 'other tagged ports' ',[0-9]'
find /tmp -mindepth 1 -maxdepth 1 -printf '%f\n' | count 'logs of dnsmasq' '^dnsmasq_vlan'
ip netns | count 'DHCP namespaces' '^ns-dhcp-'
ip netns | count 'router namespaces' '^ns-gw-'
iptables-save | count 'iptables rules' '^-A'
find "$images" -name '*_img.qcow2' 2>/dev/null | count 'overlays' .
find "$images" -mindepth 1 ! -name '*.qcow2' ! -name '.*.seal' 2>/dev/null | count 'other files of VMs' .

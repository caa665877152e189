# usage: start-libvirt.sh USER
# Starts libvirtd on a host of the lab, which has no systemd, D-Bus or cgroups of its own; QEMU runs as USER, as with
# our product.
user=$1

grep -q ^libvirt-qemu: /etc/passwd || {
  echo libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin >>/etc/passwd
  echo libvirt-qemu:x:64055: >>/etc/group
}
mkdir -p /etc/libvirt/qemu /var/lib/libvirt /run/libvirt /var/log/libvirt/qemu /var/cache/libvirt
cat >/etc/libvirt/libvirtd.conf <<END
unix_sock_group = "$user"
unix_sock_rw_perms = "0770"
auth_unix_ro = "none"
auth_unix_rw = "none"
END
cat >/etc/libvirt/qemu.conf <<END
user = "$user"
group = "$user"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
END
setsid /usr/sbin/libvirtd </dev/null >/var/log/libvirtd.console 2>&1 &

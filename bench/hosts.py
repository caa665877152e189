"""The objects on the lab's hosts, counted as root from outside the product, and the prerequisites of contenders."""

from __future__ import annotations

from collections import Counter
from functools import partial

from bench.work import Work
from lab import Lab
from lab.errors import wait_until
from lab.topology import SSH_USER, Role

IMAGES = f"/home/{SSH_USER}/vm_images"

VMS = ("QEMU processes", "VNC ports", "TAPs", "tagged ports of VMs")
"""The objects that every contender for VMs alone creates."""

SAME = (*VMS, "other tagged ports", "overlays", "dnsmasq processes", "DHCP namespaces")
"""The objects that contenders create in equal numbers; others may differ, but must be gone in the end."""

_COUNT = f"""
count() {{ printf '%s\\t%s\\n' "$1" "$(grep -c "$2")"; }}
ports() {{ ovs-vsctl --timeout=20 --format=csv --no-headings --columns=name,tag list Port; }}
cat /proc/[0-9]*/comm 2>/dev/null | count 'QEMU processes' '^qemu-system'
cat /proc/[0-9]*/comm 2>/dev/null | count 'dnsmasq processes' '^dnsmasq$'
ss -Hlt4n 'sport >= 5901 and sport < 6000' | count 'VNC ports' '^LISTEN'
ls /sys/class/net | count 'TAPs' '^tap_'
ports | count 'tagged ports of VMs' '^tap_.*,[0-9]'
ports | grep -v ^tap_ | count 'other tagged ports' ',[0-9]'
ls /tmp | count 'logs of dnsmasq' '^dnsmasq_vlan'
ip netns | count 'DHCP namespaces' '^ns-dhcp-'
ip netns | count 'router namespaces' '^ns-gw-'
iptables-save | count 'iptables rules' '^-A'
find {IMAGES} -name '*_img.qcow2' 2>/dev/null | count 'overlays' .
find {IMAGES} -mindepth 1 ! -name '*.qcow2' ! -name '.*.seal' 2>/dev/null | count 'other files of VMs' .
"""

# Hosts of the lab have no systemd, D-Bus or cgroups of their own; QEMU runs as the SSH user, as with our product.
_LIBVIRT = f"""
grep -q ^libvirt-qemu: /etc/passwd || {{
  echo libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin >>/etc/passwd
  echo libvirt-qemu:x:64055: >>/etc/group
}}
mkdir -p /etc/libvirt/qemu /var/lib/libvirt /run/libvirt /var/log/libvirt/qemu /var/cache/libvirt
cat >/etc/libvirt/libvirtd.conf <<END
unix_sock_group = "{SSH_USER}"
unix_sock_rw_perms = "0770"
auth_unix_ro = "none"
auth_unix_rw = "none"
END
cat >/etc/libvirt/qemu.conf <<END
user = "{SSH_USER}"
group = "{SSH_USER}"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
END
setsid /usr/sbin/libvirtd </dev/null >/var/log/libvirtd.console 2>&1 &
"""
_LIBVIRT_SECONDS = 20.0


def names(lab: Lab) -> list[str]:
    """Return the hosts that the product drives."""
    return [host.name for host in lab.hosts if host.is_node]


def workers(lab: Lab) -> list[str]:
    """Return those of them that run VMs."""
    return [host.name for host in lab.hosts if host.role is Role.WORKER]


def count(lab: Lab) -> dict[str, int]:
    """Return the counts of all hosts together."""
    total: Counter[str] = Counter()
    for host in names(lab):
        total.update(parsed(lab.exec(host, ["sh", "-c", _COUNT]).stdout))
    return dict(total)


def parsed(text: str) -> dict[str, int]:
    """Return the counts of one host from the output of its script."""
    return {what: int(number) for what, number in (line.split("\t") for line in text.splitlines())}


def expected(work: Work) -> dict[str, int]:
    """Return the objects of a work: a VLAN for each link and one for the internet, a TAP for each connected NIC."""
    taps, vlans = work.vms + 2 * work.link_count, work.link_count + 1
    numbers = (work.vms, work.vms, taps, taps, 2 * vlans, work.vms, vlans, vlans)
    return dict(zip(SAME, numbers, strict=True))


# A boot sector that halts: without one a BIOS goes on searching, and 80 of them use a quarter of two cores.
_BLANK = r"""umask 022; raw=$1.raw
{ printf '\372\364\353\375'; head -c 506 /dev/zero; printf '\125\252'; } >"$raw" && truncate -s 1G "$raw" &&
  qemu-img convert -f raw -O qcow2 "$raw" "$1" && rm "$raw"
"""


def prepare(lab: Lab, image_name: str) -> None:
    """Put the base image without a system on the workers, and allow the user all of sudo, which other contenders need.

    The product itself needs `sh -s` only.
    """
    rule = f"{SSH_USER} ALL=(root) NOPASSWD: ALL\n"
    for host in names(lab):
        lab.exec(host, ["sh", "-c", "umask 337; cat >/etc/sudoers.d/zz-bench"], input=rule)
    for worker in workers(lab):
        lab.exec(worker, ["mkdir", "-p", IMAGES], user=SSH_USER)
        lab.exec(worker, ["sh", "-c", _BLANK, "sh", f"{IMAGES}/{image_name}"], user=SSH_USER)


def start_libvirt(lab: Lab) -> None:
    """Start libvirtd on every worker, until the lab is removed."""
    for worker in workers(lab):
        lab.exec(worker, ["sh", "-c", _LIBVIRT])
    for worker in workers(lab):
        wait_until(partial(_has_libvirt, lab, worker), _LIBVIRT_SECONDS, f"libvirtd on {worker} answers")


def _has_libvirt(lab: Lab, worker: str) -> bool:
    ready = ["virsh", "--quiet", "--connect", "qemu:///system", "list"]
    return lab.exec(worker, ready, check=False).returncode == 0

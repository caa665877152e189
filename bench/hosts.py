"""What is on the lab's hosts at this moment, counted from outside the product: as root, by looking."""

from __future__ import annotations

from collections import Counter

from lab import Lab
from lab.topology import SSH_USER

HOSTS = ("worker1", "worker2", "network")
IMAGES = f"/home/{SSH_USER}/vm_images"

SAME = ("QEMU processes", "VNC ports", "TAPs", "tagged ports", "overlays", "dnsmasq processes", "DHCP namespaces")
"""What both contenders make the same number of; the rest may differ, but must be gone in the end."""

_COUNT = f"""
count() {{ printf '%s\\t%s\\n' "$1" "$(grep -c "$2")"; }}
cat /proc/[0-9]*/comm 2>/dev/null | count 'QEMU processes' '^qemu-system'
cat /proc/[0-9]*/comm 2>/dev/null | count 'dnsmasq processes' '^dnsmasq$'
ss -Hlt4n 'sport >= 5901 and sport < 6000' | count 'VNC ports' '^LISTEN'
ls /sys/class/net | count 'TAPs' '^tap_'
ovs-vsctl --timeout=20 --format=csv --no-headings --columns=tag list Port | count 'tagged ports' '^[0-9]'
ls /tmp | count 'logs of dnsmasq' '^dnsmasq_vlan'
ip netns | count 'DHCP namespaces' '^ns-dhcp-'
ip netns | count 'router namespaces' '^ns-gw-'
iptables-save | count 'iptables rules' '^-A'
find {IMAGES} -name '*_img.qcow2' 2>/dev/null | count 'overlays' .
find {IMAGES} -mindepth 1 ! -name '*.qcow2' 2>/dev/null | count 'other files of VMs' .
"""


def count(lab: Lab) -> dict[str, int]:
    """All hosts together."""
    total: Counter[str] = Counter()
    for host in HOSTS:
        total.update(parsed(lab.exec(host, ["sh", "-c", _COUNT]).stdout))
    return dict(total)


def parsed(text: str) -> dict[str, int]:
    """The counts of one host, as its script printed them."""
    return {what: int(number) for what, number in (line.split("\t") for line in text.splitlines())}


def expected(vms: int) -> dict[str, int]:
    """What a ring with internet is made of: a VLAN for each link and one for the internet, three TAPs for each VM."""
    vlans = vms + 1
    numbers = (vms, vms, 3 * vms, 3 * vms + 2 * vlans, vms, vlans, vlans)
    return dict(zip(SAME, numbers, strict=True))


def prepare(lab: Lab, image_name: str) -> None:
    """Put the empty base image on the workers, and let the user do everything by sudo, as the documented design needs.

    The product asks for `sh -s` only.
    """
    rule = f"{SSH_USER} ALL=(root) NOPASSWD: ALL\n"
    for host in HOSTS:
        lab.exec(host, ["sh", "-c", "umask 337; cat >/etc/sudoers.d/zz-bench"], input=rule)
    for worker in HOSTS[:2]:
        lab.exec(worker, ["mkdir", "-p", IMAGES], user=SSH_USER)
        base = f"{IMAGES}/{image_name}"
        lab.exec(worker, ["qemu-img", "create", "-q", "-f", "qcow2", base, "1G"], user=SSH_USER)

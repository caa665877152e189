"""The objects on the lab's hosts, counted as root from outside the product, and the prerequisites of contenders."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from bench.work import Work
from lab import Lab
from lab.errors import wait_until
from lab.topology import SSH_USER, Role

_SCRIPTS = Path(__file__).parent / "scripts"
IMAGES = f"/home/{SSH_USER}/vm_images"

VMS = ("QEMU processes", "VNC ports", "TAPs", "tagged ports of VMs")
"""The objects that every contender for VMs alone creates."""

SAME = (*VMS, "other tagged ports", "overlays", "dnsmasq processes", "DHCP namespaces")
"""The objects that contenders create in equal numbers; others may differ, but must be gone in the end."""

_LIBVIRT_SECONDS = 20.0


def script(name: str, *words: str) -> list[str]:
    """Return the argv that runs a script of this folder."""
    text = (_SCRIPTS / f"{name}.sh").read_text(encoding="utf-8")
    return ["sh", "-c", text, f"{name}.sh", *words]


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
        total.update(parsed(lab.exec(host, script("count-objects", IMAGES)).stdout))
    return dict(total)


def parsed(text: str) -> dict[str, int]:
    """Return the counts of one host from the output of its script."""
    return {what: int(number) for what, number in (line.split("\t") for line in text.splitlines())}


def expected(work: Work) -> dict[str, int]:
    """Return the objects of a work: a VLAN for each link and one for the internet, a TAP for each connected NIC."""
    taps, vlans = work.vms + 2 * work.link_count, work.link_count + 1
    numbers = (work.vms, work.vms, taps, taps, 2 * vlans, work.vms, vlans, vlans)
    return dict(zip(SAME, numbers, strict=True))


def prepare(lab: Lab, image_name: str) -> None:
    """Put the base image without a system on the workers, and allow the user all of sudo, which other contenders need.

    The product itself needs `sh -s` only.
    """
    rule = f"{SSH_USER} ALL=(root) NOPASSWD: ALL\n"
    for host in names(lab):
        lab.exec(host, ["sh", "-c", "umask 337; cat >/etc/sudoers.d/zz-bench"], input=rule)
    for worker in workers(lab):
        lab.exec(worker, ["mkdir", "-p", IMAGES], user=SSH_USER)
        lab.exec(worker, script("make-blank-image", f"{IMAGES}/{image_name}"), user=SSH_USER)


def start_libvirt(lab: Lab) -> None:
    """Start libvirtd on every worker, until the lab is removed."""
    for worker in workers(lab):
        lab.exec(worker, script("start-libvirt", SSH_USER))
    for worker in workers(lab):
        wait_until(partial(_has_libvirt, lab, worker), _LIBVIRT_SECONDS, f"libvirtd on {worker} answers")


def _has_libvirt(lab: Lab, worker: str) -> bool:
    ready = ["virsh", "--quiet", "--connect", "qemu:///system", "list"]
    return lab.exec(worker, ready, check=False).returncode == 0

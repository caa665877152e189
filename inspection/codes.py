"""The codes of the doctor's findings: severity, meaning, advice. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Severity = Literal["error", "warning"]

REPAIR = "repair the slice: repair SLICE"
START = "start the VM: start SLICE VM"
RESTART = "restart the VM once: restart SLICE VM"
"""Advice in the words of the commands. A finding puts the ids of its slice and its VM in it."""

BY_GUEST = "vm-off"
"""The code of a VM that powered itself off."""

FIX = "doctor --fix removes it"
CODES: Mapping[str, tuple[Severity, str, str]] = {
    "host-unreachable": (
        "error",
        "the host does not answer",
        "start it, or repair its network; a worker that is dead for good: cli.py host forget ADDRESS",
    ),
    "host-unusable": ("error", "the host answers, but cannot be used", "correct that, and run doctor again"),
    "sudo-refused": (
        "error",
        "the host answers, but sudo refuses",
        "give the SSH user the right that docs/install-hosts.md names",
    ),
    "look-failed": ("error", "the facts of the host could not be collected", "run doctor again; report it if it stays"),
    "invalid-answer": (
        "error",
        "the host gave an answer that makes no sense",
        "find out what was changed on it, and run doctor again; until then it gets no VMs",
    ),
    "unread": ("warning", "a part of the host could not be read", "find out which program is missing or fails"),
    "tool-missing": ("error", "a program is not installed", "docs/install-hosts.md lists the packages"),
    "tool-too-old": ("error", "a program is older than what is needed", "upgrade the host"),
    "bridge-missing": ("error", "Open vSwitch has no bridge br-int", "ovs-vsctl add-br br-int, and its data port"),
    "switch-down": ("error", "ovs-vswitchd does not answer", "systemctl start openvswitch-switch"),
    "images-shared": (
        "error",
        "two workers share one folder of images, so they overwrite each other's files",
        "give each worker a folder on its own disk (hypervisor: images_dir)",
    ),
    "normal-missing": (
        "error",
        "br-int passes no frames on",
        "ovs-vsctl del-fail-mode br-int; ovs-ofctl add-flow br-int priority=0,actions=NORMAL",
    ),
    "data-port-missing": (
        "error",
        "no port of br-int leads to the other hosts",
        "ovs-vsctl add-port br-int PORT; docs/data-network.md says how it stays",
    ),
    "data-port-unclear": (
        "warning",
        "more than one port of br-int could lead to the other hosts",
        "name the right one in database.yaml: data_ports: {HOST: PORT}; remove the others",
    ),
    "data-port-tagged": (
        "error",
        "the data port does not carry the slices' VLANs",
        "ovs-vsctl clear Port PORT tag trunks vlan_mode",
    ),
    "data-port-down": (
        "error",
        "the data port is down",
        "ip link set PORT up; see its cable, the port of the switch, and that it comes up at boot",
    ),
    "tunnel-address": (
        "error",
        "a host has not the address at which its end of the tunnel is",
        "name one of its addresses in database.yaml: data_addresses: {HOST: ADDRESS}",
    ),
    "tunnel-narrow": (
        "error",
        "the network beneath the tunnel carries too small packets",
        "ip link set dev PORT mtu 1600, here, on all hosts and on the switches between them",
    ),
    "tunnel-doubled": (
        "error",
        "br-int has another way to the hosts beside the tunnel",
        "ovs-vsctl del-port br-int PORT",
    ),
    "tunnel-missing": ("error", "a part of the tunnel between the hosts is missing", REPAIR),
    "tunnel-wrong": ("error", "a part of the tunnel leads elsewhere, or passes other frames than it should", REPAIR),
    "tunnel-flows": ("error", "flows of the tunnel are missing, or others are there", REPAIR),
    "tunnel-foreign": (
        "error",
        "a bridge or port has a name of the tunnel, but not our mark",
        f"remove it, then {REPAIR}",
    ),
    "uplink-missing": (
        "error",
        "the uplink to the internet is missing",
        "set internet: uplink in database.yaml to the interface of the default route (ip route show default)",
    ),
    "uplink-down": ("error", "the uplink to the internet is down", "ip link set UPLINK up"),
    "uplink-unrouted": (
        "warning",
        "no default route leads out of the uplink",
        "give the network node its default route, or set internet: uplink in database.yaml",
    ),
    "internet-overlap": (
        "error",
        "the guests' network is in use elsewhere",
        "set internet: cidr and gateway in database.yaml to a network that nothing else uses",
    ),
    "internet-blocked": (
        "error",
        "another firewall drops the guests' packets to the internet",
        "let gw_vlan400 pass there, in both directions, or remove it (nft list ruleset)",
    ),
    "no-room": ("warning", "almost no memory or disk is left", "delete slices or VMs there, or make room"),
    "clock-skew": ("warning", "the host's clock is not the manager's", "let both follow a time server"),
    "overlay-missing": ("error", "a VM's disk is missing", "delete the slice and create it again: its data is lost"),
    "snapshot-missing": (
        "error",
        "a disk lacks a snapshot that the database names",
        "delete the snapshot: it cannot be brought back",
    ),
    "snapshot-foreign": (
        "warning",
        "a disk has a snapshot of ours that the database does not name",
        "stop the VM, and remove it from the disk with qemu-img snapshot -d",
    ),
    "disk-foreign": (
        "error",
        "the disk with a VM's name is not the disk of that VM",
        "delete the slice, which keeps that disk; or, if it is the VM's disk, create the mark with touch",
    ),
    "image-changed": (
        "error",
        "the base image of VMs' disks is gone, empty or another one",
        "put back the image with the size and time in .<image>.seal; or delete the slices, then that file",
    ),
    "seed-missing": ("error", "the seed of a VM is missing: its next boot would have no network", REPAIR),
    "seed-open": ("error", "others on the worker could read the seed of a VM, with its keys", REPAIR),
    "qemu-dead": ("error", "a VM does not run", REPAIR),
    BY_GUEST: ("warning", "a VM powered itself off", START),
    "vm-unfinished": (
        "warning",
        "the addition of a VM was begun and not finished",
        "deploy the slice, which makes its disk, or remove the VM: deploy SLICE, or remove-vm SLICE VM",
    ),
    "change-unfinished": (
        "error",
        "a change of VMs and links of a running slice was begun and not finished",
        "log in again: the menu offers to finish it, or to take it back where that is possible",
    ),
    "power-unfinished": (
        "error",
        "a change of a VM's power was begun and not finished",
        "log in again: the menu offers to finish it, or to take it back where that is possible",
    ),
    "vm-not-stopped": ("error", "a VM runs though its user stopped it", REPAIR),
    "qemu-older": ("warning", "a VM runs since an older version, which made no TAP without a link", RESTART),
    "qemu-paused": ("error", "a VM stands still: its QEMU was not told to let it run, or has stopped it", REPAIR),
    "qemu-stuck": ("error", "the QEMU of a VM does not answer, or cannot let it run", RESTART),
    "qemu-wrong": (
        "warning",
        "a VM runs with another command line than its design",
        "delete the slice and create it again, or let it run as it is",
    ),
    "vm-lost": ("error", "a VM was lost with its worker, which was written off", f"{REPAIR} (the VM gets a new disk)"),
    "host-forgotten": ("warning", "a host that was written off answers again", "doctor --fix clears it"),
    "tap-missing": ("error", "a VM's TAP is missing", REPAIR),
    "tap-down": ("error", "a VM's TAP is down", REPAIR),
    "tap-up": ("error", "a TAP whose interface has no link is up", REPAIR),
    "tap-joined": ("error", "a TAP whose interface has no link is a port of Open vSwitch", REPAIR),
    "tap-lost": ("warning", "a VM does not hold the TAP of an interface without a link", RESTART),
    "tap-dead": ("error", "a VM runs and does not hold its TAP", f"{REPAIR} (the VM starts again)"),
    "queue-missing": ("error", "rate, delay or loss of a link is not on its TAP, or an older one is", REPAIR),
    "stack-open": ("error", "a host's own IP stack takes frames from a TAP, a gateway or a DHCP port", REPAIR),
    "port-missing": ("error", "a port of br-int is missing", REPAIR),
    "port-closed": ("error", "a port is in the database of Open vSwitch, but not open", REPAIR),
    "untagged-port": ("error", "a port of ours carries every VLAN", REPAIR),
    "wrong-tag": ("error", "a port is on the wrong VLAN", REPAIR),
    "port-unprotected": ("error", "a port may send to other protected ports", REPAIR),
    "port-foreign": ("error", "a port has a name of ours, but not our mark", f"remove it, then {REPAIR}"),
    "flows-missing": ("error", "flows of a VM's port security are missing, or others are there", REPAIR),
    "namespace-missing": ("error", "a namespace is missing", REPAIR),
    "port-astray": ("error", "a port is not in its namespace", REPAIR),
    "address-missing": ("error", "a gateway or DHCP server has lost its address", REPAIR),
    "dnsmasq-dead": ("error", "a DHCP server does not run", REPAIR),
    "dnsmasq-deaf": ("error", "a DHCP server does not listen, or its interface is gone", REPAIR),
    "reservations-missing": ("error", "a DHCP server does not know the slice's addresses", REPAIR),
    "neighbours-unbounded": ("error", "a guest can make the network node remember too many neighbours", REPAIR),
    "neighbours-many": (
        "warning",
        "guests of all slices together can fill the kernel's table of neighbours",
        "sysctl -w net.ipv4.neigh.default.gc_thresh3=65536",
    ),
    "connections-many": (
        "warning",
        "guests of all slices together can fill the kernel's table of connections",
        "sysctl -w net.netfilter.nf_conntrack_max=262144",
    ),
    "log-foreign": (
        "warning",
        "the documented place of a DHCP server's log belongs to another user",
        "the log is in /run/ns-dhcp-vlan<vlan>/log; remove the file in its place if it is not needed",
    ),
    "rules-missing": ("error", "rules of VLAN 400 are missing, or not in their order", REPAIR),
    "filter-missing": (
        "error",
        "the shared DHCP server's filter keeps out the slice's VMs, or lets in others",
        REPAIR,
    ),
    "forwarding-off": ("error", "a router does not forward", REPAIR),
    "stray-process": (
        "error",
        "a QEMU has a name of ours, but no pid file",
        "see what it does, and end it by its pid",
    ),
    "orphan-process": ("warning", "a process of ours belongs to no slice that runs", FIX),
    "orphan-port": ("warning", "a port of ours belongs to no slice that runs", FIX),
    "orphan-tunnel": ("warning", "a part of a tunnel of ours leads to no host of the cloud", FIX),
    "orphan-queue": ("warning", "a queue of ours belongs to no TAP of a slice that runs", FIX),
    "orphan-tap": ("warning", "a TAP of ours belongs to no slice that runs", FIX),
    "orphan-table": ("warning", "a table of nftables of ours belongs to no slice that runs", FIX),
    "orphan-flows": ("warning", "flows of ours belong to no slice that runs", FIX),
    "orphan-overlay": ("warning", "files of ours belong to no slice", FIX),
    "orphan-files": ("warning", "files of processes are there, though the slice is in design", FIX),
    "orphan-internet": ("warning", "the shared DHCP server still serves VMs of a slice that does not run", FIX),
    "orphan-namespace": ("warning", "a namespace of ours belongs to no slice that runs", FIX),
    "orphan-log": ("warning", "a link to the log of a DHCP server is left", FIX),
    "orphan-rules": ("warning", "rules of VLAN 400 are there, but no slice uses it", FIX),
}
"""Code -> severity, meaning, advice. A finding puts names for ADDRESS, HOST, PORT, UPLINK, SLICE and VM in it."""

OWNER_CODES = frozenset(
    {
        "overlay-missing",
        "change-unfinished",
        "power-unfinished",
        "qemu-wrong",
        "qemu-older",
        "qemu-stuck",
        "snapshot-missing",
        "tap-lost",
        "vm-unfinished",
        BY_GUEST,
    }
)
"""Codes whose advice a slice's owner can follow; so can those with `REPAIR`."""

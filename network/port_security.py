"""Port security: flows around the guests' TAPs, and the filter in front of the DHCP server that all slices share.

On a link's own VLAN a guest may send anything. The rules protect what slices share: the internet VLAN, its DHCP server,
and the switches between the hosts, which may forget or confuse MACs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from core.inventory import Inventory
from core.names import (
    DHCP_SERVER_HOST,
    INTERNET_DHCP_MAC,
    INTERNET_GATEWAY_MAC,
    OUR_MACS,
    VM_MACS,
    dhcp_namespace,
    slice_part,
    tap_name,
    vm_macs,
)
from models import Slice, internet_interfaces
from remote.plan import Command
from shell.scripts import load

_LINK_TABLE = 193
_NO_ADDRESS_YET = "0.0.0.0"  # noqa: S104 - not a listening address: DHCP clients send from it
_UNICAST = "00:00:00:00:00:00/01:00:00:00:00:00"


_FILTER_HAS_RULES = load("dhcp/filter-has-rules")
_FILTER_IS_GONE = load("dhcp/filter-is-gone")
_SET_FILTER = load("dhcp/set-filter")
_PUT_BACK_FILTER = load("dhcp/put-back-filter")
_LIST_FILTER = load("dhcp/list-filter")

FILTER = "filter"
"""The name of the answer about a slice's chain before a change."""


def flows_around(inventory: Inventory, slice_: Slice, worker: str) -> list[str]:
    """Return the flows around all TAPs of the slice on `worker`, for ovs-ofctl(8)."""
    internet = inventory.internet
    wired = [(vm, nic) for vm in slice_.vms for nic in vm.interfaces if nic.vlan_id and vm.worker_ip == worker]
    links = [tap_name(vm.vm_id, nic.name) for vm, nic in wired if nic.vlan_id != internet.vlan_id]
    shared = [(vm, nic) for vm, nic in internet_interfaces(slice_) if vm.worker_ip == worker]
    made = list(_link_flows(slice_, links)) if links else []
    made += _flows_of_silent_links(slice_, worker)
    for vm, nic in shared:
        tap, mac, address = tap_name(vm.vm_id, nic.name), str(nic.mac), str(slice_.address_of(vm, nic))
        made += _flows_out_of(tap, mac, address, internet.gateway, str(internet.network[DHCP_SERVER_HOST]))
        made.append(_flow_into(tap, mac, internet.vlan_id))
    if shared:
        # On the network node gateway and DHCP server are local, so there only frames to other VMs are dropped.
        others = VM_MACS if worker == inventory.network_node else _UNICAST
        # The priority differs by slice: otherwise slices would share one flow, and lose it together.
        priority = 10 + slice_.slice_id % 100
        made.append(f"priority={priority},dl_vlan={internet.vlan_id},dl_dst={others},actions=drop")
    return made


def filter_requests(slice_id: int, vlan: int, reservations: Iterable[str]) -> Command:
    """Let the shared DHCP server accept only a VM's requests for its own address, and answer only its MAC.

    dnsmasq trusts the fields of a request: MAC, address and relay (RFC 2131, 2). Flows on the worker guarantee that the
    frame's MAC is true, and this filter compares the fields with it. Each slice has a chain, replaced in one
    transaction. `reservations` are lines of MAC and address.
    """
    words = (dhcp_namespace(vlan), chain(slice_id), *filter_listing(slice_id, reservations))
    return Command(_SET_FILTER.argv(*words), unless=_FILTER_HAS_RULES.argv(*words))


def filter_listing(slice_id: int, reservations: Iterable[str]) -> tuple[str, ...]:
    """Return the slice's part of `iptables-save -t filter` in the DHCP namespace, without counters and quotes."""
    own = chain(slice_id)
    rules = []
    for reservation in reservations:
        mac, address = reservation.split(",")
        match = f"-p udp -m udp --dport 67 -m mac --mac-source {mac} -m u32 --u32 {_own_request(mac, address)}"
        rules.append(f"-A {own} {match} -j ACCEPT")
    return (":INPUT DROP", f"-A INPUT -j {own}", *rules)


def undo_filter(slice_id: int, vlan: int) -> Command:
    """Remove the slice's chain, or put back the one that was replaced."""
    words = (dhcp_namespace(vlan), chain(slice_id))
    return Command(_PUT_BACK_FILTER.argv(*words), unless=_FILTER_IS_GONE.argv(*words), before=FILTER)


def list_filter(slice_id: int, vlan: int) -> Command:
    """List, read-only, the slice's chain; nothing where there is none."""
    return Command(_LIST_FILTER.argv(dhcp_namespace(vlan), chain(slice_id)), name=FILTER)


def _own_request(mac: str, address: str) -> str:
    """Return the match of xt_u32 (iptables-extensions(8)) for a guest's request for itself, without relay or broadcast.

    Offsets are those of RFC 2131, figure 1, after 8 bytes of UDP: flags 10, ciaddr 12, giaddr 24, chaddr 28. Numbers
    are in the form of `iptables-save`.
    """
    start, number = "0x0>>0x16&0x3c@", mac.replace(":", "")
    own = int(ipaddress.IPv4Address(address))
    fields = (
        "0x12>>0x10=0x0", f"0x14=0x0,{own:#x}", "0x20=0x0",
        f"0x24={int(number[:8], 16):#x}", f"0x28>>0x10={int(number[8:], 16):#x}",
    )  # fmt: skip
    return "&&".join(f"{start}{field}" for field in fields)


def chain(slice_id: int) -> str:
    """Return the slice's chain in the namespace of the shared DHCP server."""
    return slice_part(slice_id)


def _link_flows(slice_: Slice, taps: Sequence[str]) -> Iterator[str]:
    """Yield the flows for frames from TAPs of links (ovs-fields(7), ovs-actions(7)): only other VMs' MACs are dropped.

    A switch between the hosts may learn MACs without regard to VLANs. With a forged MAC it would send this worker the
    frames of the VM or gateway that owns the MAC. MACs without an owner may pass, because a VM may be a bridge on its
    own links.
    """
    for tap in taps:
        yield f"priority=200,in_port={tap},actions=load:{slice_.slice_id}->NXM_NX_REG0[],resubmit(,{_LINK_TABLE})"
    own = f"table={_LINK_TABLE},reg0={slice_.slice_id}"
    for vm in slice_.vms:
        yield f"{own},priority=20,dl_src={vm_macs(vm.vm_id)},actions=NORMAL"
    for foreign in (VM_MACS, OUR_MACS):
        yield f"{own},priority=10,dl_src={foreign},actions=drop"
    yield f"{own},priority=0,actions=NORMAL"


def _flows_of_silent_links(slice_: Slice, worker: str) -> Iterator[str]:
    """Yield the flows that drop all frames of links that pass none: those of guests here, and those of other hosts."""
    for link in slice_.links:
        here = [(vm_id, nic) for vm_id, nic in link.ends if (vm := slice_.vm(vm_id)) and vm.worker_ip == worker]
        if here and not link.passes:
            yield f"priority=250,dl_vlan={link.vlan_id},actions=drop"
            for vm_id, nic in here:
                yield f"priority=250,in_port={tap_name(vm_id, nic)},actions=drop"


def _flows_out_of(tap: str, mac: str, address: str, gateway: str, dhcp_server: str) -> Iterator[str]:
    """Yield the flows for frames from a TAP on the internet VLAN; all other frames are dropped.

    A broadcast is sent to its one recipient, so that no other guest gets it. The DHCP server gets no request that it
    could pass on to other hosts. Fragments are dropped, because at the network node they would wait for their other
    parts in memory that all guests share.
    """
    own = f"in_port={tap},dl_src={mac}"
    for peer_mac, peer in ((INTERNET_GATEWAY_MAC, gateway), (INTERNET_DHCP_MAC, dhcp_server)):
        yield (
            f"priority=220,{own},arp,arp_sha={mac},arp_spa={address},arp_tpa={peer},"
            f"actions=mod_dl_dst:{peer_mac},NORMAL"
        )
    yield f"priority=220,{own},dl_dst={INTERNET_GATEWAY_MAC},ip,nw_frag=no,nw_src={address},actions=NORMAL"
    asking, own_ip = "tp_src=68,tp_dst=67", f"nw_src={address}"
    yield f"priority=220,{own},dl_dst={INTERNET_DHCP_MAC},udp,{own_ip},nw_dst={dhcp_server},{asking},actions=NORMAL"
    for source in (_NO_ADDRESS_YET, address):
        yield (
            f"priority=230,{own},udp,nw_src={source},nw_dst=255.255.255.255,{asking},"
            f"actions=mod_dl_dst:{INTERNET_DHCP_MAC},NORMAL"
        )
    yield f"priority=210,in_port={tap},actions=drop"


def _flow_into(tap: str, mac: str, vlan: int) -> str:
    """Return the flow that sends a VM's frames to its TAP only, also after the switch has forgotten the MAC.

    Without it the switch would flood such frames. Frames from a TAP to a forgotten MAC leave by the trunk only, because
    TAPs are protected ports. The flows of TAPs have a higher priority, because guests can write tags, too.
    """
    return f"priority=190,dl_vlan={vlan},dl_dst={mac},actions=strip_vlan,output:{tap}"

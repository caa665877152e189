"""Plan the network node: gateways, DHCP and the way to the internet (docs/spec/networking.md). Returns steps.

A slice's gateways are in its own router namespace: subnets repeat every 256 VLANs, and slices must not reach each other
through gateways. VLAN 400, which all slices share, is one locked step. The reservations of its slices are files on the
network node; the slice that removes the last file removes the rest as well. This module chooses no VLANs: a new
link gets its own from `Slice.get_next_vlan` in `models.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from core.inventory import Inventory
from core.names import (
    DHCP_FIRST_HOST,
    DHCP_LAST_HOST,
    DHCP_SERVER_HOST,
    INTERNET_DHCP_MAC,
    INTERNET_GATEWAY_MAC,
    dhcp_namespace,
    router_namespace,
)
from models import VM, Link, Slice, internet_interfaces
from network import dhcp, firewall, neighbours, ovs, ports
from network.checks import check_nothing_left, check_port_names, check_way_out
from network.dhcp import RoutedElsewhere, Server, Subnet, hosts_file, hosts_folder
from network.namespaces import Place, add_namespaces, check_namespace_names, folder, put_in_place, remove_namespaces
from network.port_security import filter_requests, list_filter, undo_filter
from remote.plan import Command, Step
from remote.port import PortVisit
from shell.scripts import load

PROGRAMS = (
    *("dnsmasq", "flock", "ip", "iptables", "iptables-restore", "iptables-save", "nft"),
    *("nsenter", "ovs-vsctl", "socat", "ss", "sysctl"),
)

# Where dnsmasq answers a client that has no address yet by its MAC, each offer is a neighbour.
_BY_BROADCAST = "--dhcp-broadcast"

# The shared DHCP server answers reserved MACs only.
_ONLY_KNOWN = ("--dhcp-ignore=tag:!known", "--dhcp-ignore-clid")

_USUAL_LEASES = 1000
"""The most leases that dnsmasq(8) gives unless `--dhcp-lease-max` says more."""

_CHECK_RUN_ROOM = load("dhcp/check-run-room")
_CHECK_NO_RESERVATIONS = load("dhcp/check-no-reservations")


class VLANManager:
    """The planner of a slice's objects on the network node."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._node = inventory.network_node
        self._internet = inventory.internet
        self._bridge = inventory.bridge

    def preflight(self, slice_: Slice, *, new: bool) -> Iterable[Step]:
        """Yield read-only checks of names and room on the network node.

        No object of a `new` slice may exist; of another one the rules that a change replaces are listed.
        """
        if not self._vlans(slice_):
            return ()
        further = (self._check_new(slice_),) if new else self._list_rules(slice_)
        return (*self._check_node(slice_), *further)

    def _check_node(self, slice_: Slice) -> tuple[Step, ...]:
        vlans = self._vlans(slice_)
        namespaces = [router_namespace(slice_.slice_id), *(dhcp_namespace(vlan) for vlan in vlans)]
        kept = [folder(namespaces[0]), *(hosts_file(slice_.slice_id, vlan) for vlan in vlans)]
        return (
            check_port_names(self._node, ovs.names(self._all_ports(slice_))),
            Step(self._node, "names of the namespaces", (check_namespace_names(namespaces),)),
            Step(self._node, "room in /run", (Command(_CHECK_RUN_ROOM.argv(*kept)),)),
            Step(self._node, "room for DHCP servers", (dhcp.check_room(vlans),)),
            Step(self._node, "room for neighbours", (neighbours.check_room(self.bounds(slice_)),)),
            *(self._internet_preflight(slice_) if slice_.uses_internet else ()),
        )

    def _internet_preflight(self, slice_: Slice) -> tuple[Step, ...]:
        """Return the checks that the guests' rules hold here."""
        vlan, guests = self._internet.vlan_id, len(list(internet_interfaces(slice_)))
        own = hosts_file(slice_.slice_id, vlan)
        return (
            check_way_out(self._inventory),
            Step(self._node, "matches of iptables", (firewall.check_matches(),)),
            Step(self._node, "room for connections", (firewall.check_room(hosts_folder(vlan), own, guests),)),
        )

    def _list_rules(self, slice_: Slice) -> tuple[Step, ...]:
        """Return the step that lists the slice's part of the shared DHCP server, which a change replaces."""
        if not slice_.uses_internet:
            return ()
        vlan, own = self._internet.vlan_id, slice_.slice_id
        return (Step(self._node, "DHCP filter", (list_filter(own, vlan), dhcp.find_reservations(own, vlan))),)

    def _check_new(self, slice_: Slice) -> Step:
        """Return the check that no unshared object of the slice exists yet."""
        namespaces = [
            router_namespace(slice_.slice_id),
            *(dhcp_namespace(link.vlan_id) for link in slice_.served_links),
        ]
        own = [*map(folder, namespaces), hosts_file(slice_.slice_id, self._internet.vlan_id)]
        return check_nothing_left(self._node, ovs.names(ports.of_links(slice_)), own)

    def prepare(self, slice_: Slice) -> tuple[Step, ...]:
        """Yield the steps for ports and namespaces of the slice's links with services."""
        served, router = slice_.served_links, router_namespace(slice_.slice_id)
        if not served:
            return ()
        made = ports.of_links(slice_, ports.marks_of(slice_), self._bridge)
        folders = {router: folder(router)} if slice_.routed_links else {}
        folders |= {dhcp_namespace(link.vlan_id): hosts_folder(link.vlan_id) for link in served}
        return (
            Step(
                self._node,
                "ports of the VLANs",
                do=(ovs.add_ports(made),),
                undo=(ovs.remove_ports(ovs.names(made), internal=True),),
                objects=ovs.names(made),
            ),
            Step(
                self._node,
                "namespaces of the slice",
                do=(add_namespaces(folders, self.bounds(slice_)),),
                undo=(remove_namespaces(*folders),),
                objects=tuple(folders),
            ),
        )

    def launch(self, slice_: Slice) -> tuple[Step, ...]:
        """Yield the steps for gateways and DHCP of the slice's links, and for its part of the internet VLAN."""
        steps: list[Step] = []
        if routed := slice_.routed_links:
            gateways = [self._gateway_place(slice_, link) for link in routed]
            place, addresses = (
                put_in_place(gateways, routes=True),
                tuple(f"{each.address}/{each.prefix}" for each in gateways),
            )
            steps.append(Step(self._node, "gateways of the VLANs", (place,), objects=addresses))
        if served := slice_.served_links:
            subnets = [self._link_subnet(slice_, link) for link in served]
            vlans = [subnet.vlan_id for subnet in subnets]
            steps.append(
                Step(
                    self._node,
                    "DHCP of the VLANs",
                    do=self._dhcp(slice_, subnets, _BY_BROADCAST),
                    undo=(dhcp.stop_servers(vlans, slice_.slice_id),),
                    objects=tuple(map(dhcp.server_name, vlans)),
                )
            )
        if slice_.uses_internet:
            steps.append(self._internet_step(slice_))
        return tuple(steps)

    def verify(self, slice_: Slice) -> tuple[Step, ...]:
        """Yield read-only checks that every dnsmasq runs and every port carries its tag."""
        vlans, shared = self._vlans(slice_), self._internet.vlan_id
        steps = []
        if links := [vlan for vlan in vlans if vlan != shared]:
            steps.append(Step(self._node, "dnsmasq of the VLANs", (dhcp.check_servers(links),)))
        if shared in vlans:
            # A slice that leaves restarts the shared dnsmasq, which is then away for a moment.
            steps.append(Step(self._node, f"dnsmasq of VLAN {shared}", (dhcp.check_servers([shared]),), lock=True))
        if tagged := self._all_ports(slice_):
            steps.append(Step(self._node, "tags of the VLANs", (Command(ovs.check_tags(tagged)),)))
        return tuple(steps)

    def renew(self, before: Slice, after: Slice) -> Iterator[Step]:
        """Yield the steps that end on the network node what a change of links makes wrong; a deployment renews it.

        dnsmasq keeps reservations that were removed, so each server with others is ended.
        """
        old, new = self._link_subnets(before), self._link_subnets(after)
        changed = [vlan for vlan, subnet in old.items() if vlan in new and new[vlan] != subnet]
        if changed:
            stop = dhcp.stop_servers(changed, after.slice_id)
            yield Step(self._node, "DHCP of changed VLANs", (stop,), objects=tuple(map(dhcp.server_name, changed)))
        moved = self._moved_ports(before, after)
        if moved:
            yield Step(
                self._node, "ports that get other addresses", (ovs.remove_ports(moved, internal=True),), objects=moved
            )
        if (
            before.uses_internet
            and after.uses_internet
            and self._internet_subnet(before) != self._internet_subnet(after)
        ):
            leave = dhcp.leave(after.slice_id, self._internet_subnet(after), self._internet.dns, *self._shared_options)
            yield Step(self._node, f"addresses on VLAN {self._internet.vlan_id}", (leave,), lock=True)

    def _link_subnets(self, slice_: Slice) -> dict[int, Subnet]:
        return {link.vlan_id: self._link_subnet(slice_, link) for link in slice_.served_links}

    def _moved_ports(self, before: Slice, after: Slice) -> tuple[str, ...]:
        """Return the ports that a change leaves on their VLANs with other addresses."""
        old, new = ({place.port.name: place for place in self.places(each)} for each in (before, after))
        return tuple(name for name, place in old.items() if name in new and new[name] != place)

    def forget_internet(self, slice_id: int) -> Step:
        """Return the step that removes a forgotten slice from the internet VLAN, like its deletion."""
        step = self._internet_step(Slice(slice_id, ""))
        return replace(step, do=step.undo, undo=())

    def close_internet(self) -> Step:
        """Return the step that removes the shared objects of the internet VLAN, unless a slice uses them."""
        vlan = self._internet.vlan_id
        unused = Command(_CHECK_NO_RESERVATIONS.argv(hosts_folder(vlan)))
        return Step(self._node, f"end of VLAN {vlan}", (*self._close_internet(), unused), lock=True)

    # --- the expected state, for inspection ---------------------------------------------------------------------------

    def way_to(self, slice_: Slice, vm: VM, port: int) -> PortVisit | None:
        """Return the way from the network node to a port of a VM: by internet access or the first link with a gateway.

        Return None where the VM has neither.
        """
        routed = {link.link_id for link in slice_.routed_links}
        for interface in vm.interfaces:
            address = slice_.address_of(vm, interface) or ""
            if interface.ip_config:
                return PortVisit("", address, port, firewall.answers_of_guests(self._inventory).words)
            if address and interface.link_id in routed:
                return PortVisit(router_namespace(slice_.slice_id), address, port)
        return None

    def ports(self, slice_: Slice) -> list[ovs.Port]:
        """Return the slice's ports on the network node, shared ones included."""
        return [place.port for place in self.places(slice_)]

    def places(self, slice_: Slice) -> list[Place]:
        """Return the places of these ports."""
        places = [self._gateway_place(slice_, link) for link in slice_.routed_links]
        if slice_.uses_internet:
            places.append(self._internet_gateway())
        return [*places, *(self._dhcp_place(slice_, subnet) for subnet in self._subnets(slice_))]

    def servers(self, slice_: Slice) -> list[Server]:
        """Return the DHCP servers with reservations of the slice."""
        return [dhcp.server_of(slice_.slice_id, subnet) for subnet in self._subnets(slice_)]

    @staticmethod
    def bounds(slice_: Slice) -> dict[str, int]:
        """Return the namespaces at links of the slice, each with its maximum number of neighbours."""
        ends = {link.vlan_id: len(link.ends) for link in slice_.served_links}
        return neighbours.bounds(slice_.slice_id, ends, [link.vlan_id for link in slice_.routed_links])

    def _subnets(self, slice_: Slice) -> list[Subnet]:
        subnets = [self._link_subnet(slice_, link) for link in slice_.served_links]
        return [*subnets, self._internet_subnet(slice_)] if slice_.uses_internet else subnets

    def _vlans(self, slice_: Slice) -> list[int]:
        """Return the slice's VLANs with a DHCP server, the shared one included."""
        links = [link.vlan_id for link in slice_.served_links]
        return [*links, self._internet.vlan_id] if slice_.uses_internet else links

    def _all_ports(self, slice_: Slice) -> list[ovs.Port]:
        """Return the slice's ports, the shared ones included, without marks."""
        return [*ports.of_links(slice_), *(ports.both(self._internet.vlan_id) if slice_.uses_internet else ())]

    # --- links --------------------------------------------------------------------------------------------------------

    def _gateway_place(self, slice_: Slice, link: Link) -> Place:
        namespace, network = router_namespace(slice_.slice_id), slice_.network_of(link)
        port = ports.gateway(link.vlan_id, ports.marks_of(slice_), self._bridge)
        return Place(port, namespace, str(network.gateway_ip), network.addresses.prefixlen)

    def _link_subnet(self, slice_: Slice, link: Link) -> Subnet:
        reservations, elsewhere = [], []
        network = slice_.network_of(link)
        for (vm_id, name), address in zip(link.ends, slice_.addresses_on(link), strict=True):
            vm = slice_.vm(vm_id)
            interface = vm.interface(name) if vm else None
            if vm and interface:
                reservations.append(f"{interface.mac},{address}")
                if network.gateway_ip and any(
                    nic.ip_config for nic in vm.interfaces
                ):  # of two default routes some clients take the last one
                    elsewhere.append(RoutedElsewhere(str(interface.mac), _networks_behind(slice_, vm)))
        prefix, gateway = network.addresses.prefixlen, network.gateway_ip or ""
        server, first, last = map(network.host, (DHCP_SERVER_HOST, DHCP_FIRST_HOST, DHCP_LAST_HOST))
        return Subnet(
            link.vlan_id, prefix, gateway, server, first, last, tuple(reservations), routed_elsewhere=tuple(elsewhere)
        )

    def _dhcp(self, slice_: Slice, subnets: Sequence[Subnet], *extra: str) -> tuple[Command, ...]:
        """Return the commands for the slice's reservations, and for an interface and dnsmasq on each VLAN."""
        return (
            dhcp.reserve(slice_.slice_id, subnets),
            put_in_place([self._dhcp_place(slice_, subnet) for subnet in subnets], routes=False),
            dhcp.serve(subnets, self._internet.dns, *extra),
        )

    # --- internet -----------------------------------------------------------------------------------------------------

    def _internet_step(self, slice_: Slice) -> Step:
        """Return the step of the shared VLAN: gateway, DHCP for known MACs, forwarding and MASQUERADE.

        The gateway is in the root namespace. The reservations of the VLAN's slices are files in one folder: all of it
        is removed with the last file. While other slices stay, dnsmasq is restarted, because it would keep the
        addresses that were leased.
        """
        vlan = self._internet.vlan_id
        shared, namespace, hosts = ports.both(vlan, (), self._bridge), dhcp_namespace(vlan), hosts_folder(vlan)
        subnet = self._internet_subnet(slice_)
        return Step(
            self._node,
            f"internet on VLAN {vlan}",
            do=(
                ovs.add_ports(shared),
                put_in_place([self._internet_gateway()]),
                add_namespaces({namespace: hosts}),
                *self._dhcp(slice_, [subnet], *self._shared_options),
                filter_requests(slice_.slice_id, vlan, subnet.reservations),
                Command(
                    ("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"),
                    unless=("grep", "-qx", "1", "/proc/sys/net/ipv4/ip_forward"),
                ),
                firewall.put_up(self._inventory),
            ),
            undo=(
                undo_filter(slice_.slice_id, vlan),
                dhcp.leave(slice_.slice_id, subnet, self._internet.dns, *self._shared_options),
                *self._close_internet(),
            ),
            lock=True,
            objects=(*ovs.names(shared), namespace),
        )

    @property
    def _shared_options(self) -> tuple[str, ...]:
        """Return the options of the DHCP server that slices share."""
        most = self._internet.last_host
        return (*_ONLY_KNOWN, *((f"--dhcp-lease-max={most}",) if most > _USUAL_LEASES else ()))

    def _close_internet(self) -> tuple[Command, ...]:
        vlan = self._internet.vlan_id
        hosts = hosts_folder(vlan)
        shared = (
            *dhcp.remove_servers(vlan),
            firewall.take_down(),
            ovs.remove_ports(ovs.names(ports.both(vlan)), internal=True),
        )
        return (
            Command(("rmdir", "--ignore-fail-on-non-empty", hosts), unless=("test", "!", "-d", hosts)),
            *(replace(command, unless=("test", "-d", hosts)) for command in shared),
        )

    def _internet_gateway(self) -> Place:
        internet = self._internet
        port = ports.gateway(internet.vlan_id, (), self._bridge)
        return Place(port, "", internet.gateway, internet.network.prefixlen, INTERNET_GATEWAY_MAC)

    def _dhcp_place(self, slice_: Slice, subnet: Subnet) -> Place:
        marks = ports.marks_of(slice_) if subnet.vlan_id != self._internet.vlan_id else ()
        namespace, port = dhcp_namespace(subnet.vlan_id), ports.server(subnet.vlan_id, marks, self._bridge)
        return Place(port, namespace, subnet.dhcp_server, subnet.prefix, subnet.dhcp_mac)

    def _internet_subnet(self, slice_: Slice) -> Subnet:
        network = self._internet.network
        hosts = (DHCP_SERVER_HOST, DHCP_FIRST_HOST, self._internet.last_host)
        server, first, last = (str(network[host]) for host in hosts)
        reservations = tuple(
            f"{interface.mac},{slice_.address_of(vm, interface)}" for vm, interface in internet_interfaces(slice_)
        )
        vlan, gateway = self._internet.vlan_id, self._internet.gateway
        return Subnet(vlan, network.prefixlen, gateway, server, first, last, reservations, INTERNET_DHCP_MAC)


def _networks_behind(slice_: Slice, vm: VM) -> tuple[str, ...]:
    """Return the networks with a gateway of the slice's links that end at other VMs only, by VLAN.

    The order of the links has no meaning: a server is not restarted because it changes.
    """
    others = [link for link in slice_.routed_links if vm.vm_id not in (end for end, _ in link.ends)]
    return tuple(slice_.network_of(link).cidr for link in sorted(others, key=lambda link: link.vlan_id))

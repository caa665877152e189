"""The network node: gateways, DHCP and the way to the internet (spec/networking.txt, DESIGN 4 and 5). Returns steps.

A slice's gateways live in the slice's own router namespace: subnets repeat every 256 VLANs, and slices must not reach
each other by way of their gateways. What all slices share, VLAN 400, is one locked step, and the reservations of the
slices that use it are files on the network node: the last one to take its file away takes the rest down.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from inventory import Inventory
from models import Link, Slice, internet_interfaces
from names import (
    DHCP_FIRST_HOST,
    DHCP_LAST_HOST,
    DHCP_SERVER_HOST,
    dhcp_namespace,
    dhcp_port,
    gateway_port,
    router_namespace,
    vlan_address,
)
from remote import daemon, ovs
from remote.plan import Command, Step
from vm_launcher import check_bridge, check_tools

TOOLS = ("dnsmasq", "flock", "ip", "iptables", "ovs-vsctl", "ss", "sysctl")

_HAS_ADDRESS = 'test -n "$(ip -n "$1" -4 -o addr show dev "$2" up to "$3" 2>/dev/null)"'
_ROOT_HAS_ADDRESS = 'test -n "$(ip -4 -o addr show dev "$1" up to "$2" 2>/dev/null)"'
_WRITE = 'cat >"$1"'
_ROUTES = 'test "$(ip netns exec "$1" cat /proc/sys/net/ipv4/ip_forward 2>/dev/null)" = 1'


@dataclass(frozen=True)
class _Subnet:
    """A VLAN with its addresses and the reservations of one slice in it, as lines for dnsmasq: MAC, address."""

    vlan_id: int
    prefix: int
    gateway: str
    dhcp_server: str
    first: str
    last: str
    reservations: tuple[str, ...]


class VLANManager:
    """Plans what a slice needs on the network node."""

    def __init__(self, inventory: Inventory) -> None:
        self._node = inventory.network_node
        self._internet = inventory.internet
        self._hosts = tuple(host for host in inventory.hosts if _is_address(host))

    def preflight(self) -> tuple[Step, ...]:
        """Read-only: programs and bridge of the network node."""
        return check_tools(self._node, TOOLS), check_bridge(self._node)

    def provide(self, tenant: Slice) -> tuple[Step, ...]:
        """Router namespace, ports, gateways and DHCP of the slice's links, and its part of the internet VLAN."""
        steps: list[Step] = []
        if tenant.links:
            ports = [port for link in tenant.links for port in _link_ports(tenant, link.vlan_id)]
            steps = [
                Step(self._node, "ports of the VLANs", (ovs.add_ports(ports),), (ovs.remove_ports(ports),)),
                self._router(tenant),
            ]
        for link in tenant.links:
            steps += [self._gateway(tenant, link), self._dhcp_step(tenant, self._link_subnet(tenant, link))]
        if any(internet_interfaces(tenant)):
            steps.append(self._internet_step(tenant))
        return tuple(steps)

    def verify(self, tenant: Slice) -> tuple[Step, ...]:
        """Read-only: every dnsmasq lives, every port carries its tag."""
        vlans = [link.vlan_id for link in tenant.links]
        ports = [port for vlan in vlans for port in _link_ports(tenant, vlan)]
        if any(internet_interfaces(tenant)):
            vlans.append(self._internet.vlan_id)
            ports += _internet_ports(self._internet.vlan_id)
        alive = [Step(self._node, f"DHCP of VLAN {vlan} answers", (Command(_dnsmasq_runs(vlan)),)) for vlan in vlans]
        tags = [Step(self._node, "tags of the VLANs", (Command(ovs.carry_tags(ports)),))] if ports else []
        return (*alive, *tags)

    # --- links --------------------------------------------------------------------------------------------------------

    def _router(self, tenant: Slice) -> Step:
        namespace = router_namespace(tenant.slice_id)
        forward = ("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        return Step(
            self._node,
            f"router namespace {namespace}",
            do=(_add_namespace(namespace), Command(forward, unless=("sh", "-c", _ROUTES, "sh", namespace))),
            undo=(_remove_namespace(namespace),),
        )

    def _gateway(self, tenant: Slice, link: Link) -> Step:
        port, namespace = gateway_port(link.vlan_id), router_namespace(tenant.slice_id)
        return Step(
            self._node,
            f"gateway of VLAN {link.vlan_id}",
            do=_place(port, namespace, vlan_address(link.vlan_id, 1), 24),
        )

    def _link_subnet(self, tenant: Slice, link: Link) -> _Subnet:
        reservations = []
        for vm_id, name in link.ends:
            vm = tenant.vm(vm_id)
            interface = vm.interface(name) if vm else None
            if interface:
                reservations.append(f"{interface.mac},{link.address_of(vm_id)}")
        hosts = (1, DHCP_SERVER_HOST, DHCP_FIRST_HOST, DHCP_LAST_HOST)
        gateway, server, first, last = (vlan_address(link.vlan_id, host) for host in hosts)
        return _Subnet(link.vlan_id, 24, gateway, server, first, last, tuple(reservations))

    def _dhcp_step(self, tenant: Slice, subnet: _Subnet) -> Step:
        return Step(
            self._node,
            f"DHCP of VLAN {subnet.vlan_id}",
            do=self._dhcp(tenant, subnet),
            undo=self._no_dhcp(tenant, subnet),
        )

    # --- DHCP ---------------------------------------------------------------------------------------------------------

    def _dhcp(self, tenant: Slice, subnet: _Subnet, *extra: str) -> tuple[Command, ...]:
        """A VLAN's dnsmasq in its namespace, and this slice's reservations in its folder.

        dnsmasq notices new files in `--dhcp-hostsdir` by itself (dnsmasq(8)).
        """
        folder, namespace = _folder(subnet.vlan_id), dhcp_namespace(subnet.vlan_id)
        own = f"{folder}/hosts/slice-{tenant.slice_id}"
        return (
            Command(("mkdir", "-p", f"{folder}/hosts"), unless=("test", "-d", f"{folder}/hosts")),
            Command(("sh", "-c", _WRITE, "sh", own), "\n".join(subnet.reservations), unless=("test", "-s", own)),
            _add_namespace(namespace),
            *_place(dhcp_port(subnet.vlan_id), namespace, subnet.dhcp_server, subnet.prefix),
            *self._start(subnet, _dnsmasq_runs(subnet.vlan_id), *extra),
        )

    def _no_dhcp(self, tenant: Slice, subnet: _Subnet, *extra: str) -> tuple[Command, ...]:
        """This slice's reservations go; with the last ones the VLAN's dnsmasq, its namespace and its files go too.

        While other slices stay, dnsmasq is started anew: it would go on holding the addresses that were leased.
        """
        folder, namespace = _folder(subnet.vlan_id), dhcp_namespace(subnet.vlan_id)
        hosts, mark = f"{folder}/hosts", _pid_option(subnet.vlan_id)
        own, in_use = f"{hosts}/slice-{tenant.slice_id}", ("test", "-d", hosts)
        stop = daemon.stop(f"{folder}/pid", mark, "TERM")
        return (
            Command(stop, unless=("test", "!", "-e", own)),
            Command(("rm", "-f", own)),
            Command(("rmdir", "--ignore-fail-on-non-empty", hosts), unless=("test", "!", "-d", hosts)),
            Command(stop, unless=in_use),
            *self._start(subnet, daemon.is_running_or_unwanted(f"{folder}/pid", mark, hosts), *extra),
            _remove_namespace(namespace, unless_also=hosts),
            Command(("rm", "-rf", folder, _log(subnet.vlan_id)), unless=in_use),
        )

    def _start(self, subnet: _Subnet, unless: tuple[str, ...], *extra: str) -> tuple[Command, Command]:
        """Start dnsmasq on a new log.

        It gives the log to its own user, and where fs.protected_regular is set (proc(5)) not even root may open another
        user's file in /tmp again.
        """
        return (
            Command(("rm", "-f", _log(subnet.vlan_id)), unless=unless),
            Command(self._dnsmasq(subnet, *extra), unless=unless),
        )

    def _dnsmasq(self, subnet: _Subnet, *extra: str) -> tuple[str, ...]:
        """dnsmasq as documented, and cut off from its host's own names and settings.

        Leases are kept in memory only: every address is a reservation, so there is nothing to remember.
        """
        return (
            *("ip", "netns", "exec", dhcp_namespace(subnet.vlan_id), "dnsmasq"),
            f"--interface={dhcp_port(subnet.vlan_id)}",
            "--bind-interfaces",
            f"--dhcp-range={subnet.first},{subnet.last},24h",
            f"--dhcp-option=3,{subnet.gateway}",
            f"--dhcp-option=6,{self._internet.dns}",
            "--log-dhcp",
            f"--log-facility={_log(subnet.vlan_id)}",
            *("--conf-file=/dev/null", "--port=0", "--no-resolv", "--no-hosts"),
            *("--dhcp-authoritative", "--leasefile-ro"),
            f"--dhcp-hostsdir={_folder(subnet.vlan_id)}/hosts",
            _pid_option(subnet.vlan_id),
            *extra,
        )

    # --- internet -----------------------------------------------------------------------------------------------------

    def _internet_step(self, tenant: Slice) -> Step:
        """The shared VLAN: its gateway in the root namespace, DHCP for known MACs only, forwarding and MASQUERADE."""
        vlan = self._internet.vlan_id
        ports = _internet_ports(vlan)
        subnet = self._internet_subnet(tenant)
        only_known = "--dhcp-ignore=tag:!known"
        in_use = ("test", "-d", f"{_folder(vlan)}/hosts")
        unplug = ovs.remove_ports(ports)
        return Step(
            self._node,
            f"internet on VLAN {vlan}",
            do=(
                ovs.add_ports(ports),
                *_place(gateway_port(vlan), "", subnet.gateway, subnet.prefix),
                *self._dhcp(tenant, subnet, only_known),
                Command(
                    ("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"),
                    unless=("grep", "-qx", "1", "/proc/sys/net/ipv4/ip_forward"),
                ),
                *(_add_rule(rule) for rule in reversed(self._rules())),
            ),
            undo=(
                *self._no_dhcp(tenant, subnet, only_known),
                *(_remove_rule(rule, in_use) for rule in self._rules()),
                Command(unplug.argv, unless=in_use),
            ),
            lock=True,
        )

    def _internet_subnet(self, tenant: Slice) -> _Subnet:
        network = self._internet.network
        hosts = (DHCP_SERVER_HOST, DHCP_FIRST_HOST, DHCP_LAST_HOST)
        server, first, last = (str(network[host]) for host in hosts)
        reservations = tuple(
            f"{interface.mac},{tenant.address_of(vm, interface)}" for vm, interface in internet_interfaces(tenant)
        )
        vlan, gateway = self._internet.vlan_id, self._internet.gateway
        return _Subnet(vlan, network.prefixlen, gateway, server, first, last, reservations)

    def _rules(self) -> tuple[tuple[str, ...], ...]:
        """Our rules in the order in which they are to stand, before any of the operator's own: table, chain, rule.

        Guests get out to the internet and answers come back; they reach neither this node nor the cloud's own hosts.
        """
        inside, uplink = gateway_port(self._internet.vlan_id), self._internet.uplink
        answers = ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED")
        return (
            ("nat", "POSTROUTING", "-s", self._internet.cidr, "-o", uplink, "-j", "MASQUERADE"),
            *(("filter", "FORWARD", "-i", inside, "-d", host, "-j", "DROP") for host in self._hosts),
            ("filter", "FORWARD", "-i", inside, "-o", uplink, "-j", "ACCEPT"),
            ("filter", "FORWARD", "-i", uplink, "-o", inside, *answers, "-j", "ACCEPT"),
            ("filter", "FORWARD", "-i", inside, "-j", "DROP"),
            ("filter", "FORWARD", "-o", inside, "-j", "DROP"),
            ("filter", "INPUT", "-i", inside, "-p", "icmp", "-d", self._internet.gateway, "-j", "ACCEPT"),
            ("filter", "INPUT", "-i", inside, "-j", "DROP"),
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _link_ports(tenant: Slice, vlan: int) -> list[ovs.Port]:
    marks = (("slice", str(tenant.slice_id)),)
    return [ovs.Port(name, vlan, marks, internal=True) for name in (gateway_port(vlan), dhcp_port(vlan))]


def _internet_ports(vlan: int) -> list[ovs.Port]:
    return [ovs.Port(name, vlan, internal=True) for name in (gateway_port(vlan), dhcp_port(vlan))]


def _add_namespace(name: str) -> Command:
    return Command(("ip", "netns", "add", name), unless=("test", "-e", f"/run/netns/{name}"))


def _remove_namespace(name: str, unless_also: str = "") -> Command:
    """The namespace goes, unless it is gone, or the folder `unless_also` says that somebody still needs it."""
    still_used = ("-o", "-d", unless_also) if unless_also else ()
    return Command(("ip", "netns", "del", name), unless=("test", "!", "-e", f"/run/netns/{name}", *still_used))


def _place(port: str, namespace: str, address: str, prefix: int) -> tuple[Command, ...]:
    """Bring an internal port into `namespace` ("" is the root namespace) and give it its address.

    No IPv6 address: by it guests would reach whatever listens on the host.
    """
    lines = (
        f"link set dev {port} addrgenmode none",
        f"addr replace {address}/{prefix} dev {port}",
        f"link set dev {port} up",
    )
    if not namespace:
        guard = ("sh", "-c", _ROOT_HAS_ADDRESS, "sh", port, address)
        return (Command(("ip", "-batch", "-"), "\n".join(lines), unless=guard),)
    return (
        Command(
            ("ip", "link", "set", "dev", port, "netns", namespace),
            unless=("ip", "-n", namespace, "link", "show", "dev", port),
        ),
        Command(
            ("ip", "-n", namespace, "-batch", "-"),
            "\n".join(("link set dev lo up", *lines)),
            unless=("sh", "-c", _HAS_ADDRESS, "sh", namespace, port, address),
        ),
    )


def _dnsmasq_runs(vlan: int) -> tuple[str, ...]:
    return daemon.is_running(f"{_folder(vlan)}/pid", _pid_option(vlan))


def _pid_option(vlan: int) -> str:
    return f"--pid-file={_folder(vlan)}/pid"


def _folder(vlan: int) -> str:
    """Where a VLAN's dnsmasq keeps its pid and reservations: gone after a reboot, as the namespace is."""
    return f"/run/{dhcp_namespace(vlan)}"


def _log(vlan: int) -> str:
    return f"/tmp/dnsmasq_vlan{vlan}.log"  # noqa: S108  (the documented place)


def _add_rule(rule: tuple[str, ...]) -> Command:
    return Command(_iptables("-I", rule), unless=_iptables("-C", rule))


def _remove_rule(rule: tuple[str, ...], in_use: tuple[str, ...]) -> Command:
    """The rule goes; status 1 says that it was not there."""
    return Command(_iptables("-D", rule), ok=(0, 1), unless=in_use)


def _iptables(verb: str, rule: tuple[str, ...]) -> tuple[str, ...]:
    table, chain, *rest = rule
    return ("iptables", "-w", "10", "-t", table, verb, chain, *rest, "-m", "comment", "--comment", ovs.OWNER)

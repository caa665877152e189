"""The network node: gateways, DHCP and the way to the internet (spec/networking.txt, DESIGN 4 and 5). Returns steps.

A slice's gateways live in the slice's own router namespace: subnets repeat every 256 VLANs, and slices must not reach
each other by way of their gateways. What all slices share, VLAN 400, is one locked step, and the reservations of the
slices that use it are files on the network node: the last one to take its file away takes the rest down.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from inventory import Inventory
from models import Link, Slice, internet_interfaces
from names import (
    DHCP_FIRST_HOST,
    DHCP_LAST_HOST,
    DHCP_SERVER_HOST,
    INTERNET_DHCP_MAC,
    INTERNET_GATEWAY_MAC,
    dhcp_namespace,
    dhcp_port,
    gateway_port,
    router_namespace,
    vlan_address,
)
from remote import daemon, ovs
from remote.plan import Command, Step
from vm_launcher import check_bridge, check_ours, check_tools

TOOLS = ("dnsmasq", "flock", "ip", "iptables", "ovs-vsctl", "sysctl")

_HAS_ADDRESS = 'test -n "$(ip -n "$1" -4 -o addr show dev "$2" up to "$3" 2>/dev/null)"'
_ROOT_HAS_ADDRESS = 'test -n "$(ip -4 -o addr show dev "$1" up to "$2" 2>/dev/null)"'
_WRITE = 'cat >"$1"'
_ROUTES = 'test "$(ip netns exec "$1" cat /proc/sys/net/ipv4/ip_forward 2>/dev/null)" = 1'

_ARE_OURS = """for namespace; do
  [ ! -e "/run/netns/$namespace" ] || [ -d "/run/$namespace" ] ||
    { echo "a namespace $namespace is there that is not ours; remove it or give it another name" >&2; exit 1; }
done"""

# In front of the rules that let guests out: what the uplink is connected to directly is no part of the internet.
_KEEP_FROM_NEAR = """inside=$1 uplink=$2 owner=$3 verb=$4
for near in $(ip -4 -o route show dev "$uplink" scope link | cut -d ' ' -f 1); do
  set -- FORWARD -i "$inside" -d "$near" -j DROP -m comment --comment "$owner"
  iptables -w 10 -C "$@" 2>/dev/null || iptables -w 10 "$verb" "$@" || exit
done"""

# By their mark and not by their text: the hosts they name may have been others when they were made.
_REMOVE_RULES = r"""owner=$1
for place in 'nat POSTROUTING' 'filter FORWARD' 'filter INPUT'; do
  set -- $place
  iptables -w 10 -t "$1" -S "$2" | grep -e "--comment \"*$owner\"* " | while read -r verb rule; do
    iptables -w 10 -t "$1" -D $rule || exit
  done || exit
done"""


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
    dhcp_mac: str = ""


class VLANManager:
    """Plans what a slice needs on the network node."""

    def __init__(self, inventory: Inventory) -> None:
        self._node = inventory.network_node
        self._internet = inventory.internet
        self._hosts = tuple(host for host in inventory.hosts if _is_address(host))

    def preflight(self, tenant: Slice) -> tuple[Step, ...]:
        """Read-only: programs and bridge of the network node, and that nobody else has our names there."""
        vlans = self._vlans(tenant)
        namespaces = [router_namespace(tenant.slice_id), *(dhcp_namespace(vlan) for vlan in vlans)]
        return (
            check_tools(self._node, TOOLS),
            check_bridge(self._node),
            check_ours(self._node, [port for vlan in vlans for port in _ports(vlan)]),
            Step(self._node, "names of the namespaces", (Command(("sh", "-c", _ARE_OURS, "sh", *namespaces)),)),
        )

    def provide(self, tenant: Slice) -> tuple[Step, ...]:
        """Router namespace, ports, gateways and DHCP of the slice's links, and its part of the internet VLAN."""
        steps: list[Step] = []
        if tenant.links:
            marks = (("slice", str(tenant.slice_id)),)
            ports = [port for link in tenant.links for port in _ports(link.vlan_id, marks)]
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
        vlans = self._vlans(tenant)
        ports = [port for vlan in vlans for port in _ports(vlan)]
        # A slice that leaves the internet VLAN has its dnsmasq away for a moment.
        alive = [
            Step(self._node, f"dnsmasq of VLAN {vlan}", (_expect_dnsmasq(vlan),), lock=vlan == self._internet.vlan_id)
            for vlan in vlans
        ]
        tags = [Step(self._node, "tags of the VLANs", (Command(ovs.carry_tags(ports)),))] if ports else []
        return (*alive, *tags)

    def _vlans(self, tenant: Slice) -> list[int]:
        """The VLANs that the slice has a part in."""
        links = [link.vlan_id for link in tenant.links]
        return [*links, self._internet.vlan_id] if any(internet_interfaces(tenant)) else links

    # --- links --------------------------------------------------------------------------------------------------------

    def _router(self, tenant: Slice) -> Step:
        namespace = router_namespace(tenant.slice_id)
        forward = ("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        return Step(
            self._node,
            f"router namespace {namespace}",
            do=(*_add_namespace(namespace), Command(forward, unless=("sh", "-c", _ROUTES, "sh", namespace))),
            undo=_remove_namespace(namespace),
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
        namespace = dhcp_namespace(subnet.vlan_id)
        hosts = f"{_folder(namespace)}/hosts"
        own = f"{hosts}/slice-{tenant.slice_id}"
        return (
            *_add_namespace(namespace),
            Command(("mkdir", hosts), unless=("test", "-d", hosts)),
            Command(("sh", "-c", _WRITE, "sh", own), "\n".join(subnet.reservations), unless=("test", "-s", own)),
            *_place(dhcp_port(subnet.vlan_id), namespace, subnet.dhcp_server, subnet.prefix, subnet.dhcp_mac),
            *self._start(subnet, _dnsmasq_runs(subnet.vlan_id), *extra),
        )

    def _no_dhcp(self, tenant: Slice, subnet: _Subnet, *extra: str) -> tuple[Command, ...]:
        """This slice's reservations go; with the last ones the VLAN's dnsmasq, its namespace and its files go too.

        While other slices stay, dnsmasq is started anew: it would go on holding the addresses that were leased.
        """
        namespace, pid_file, mark = dhcp_namespace(subnet.vlan_id), _pid_file(subnet.vlan_id), _mark(subnet.vlan_id)
        hosts = f"{_folder(namespace)}/hosts"
        own, in_use = f"{hosts}/slice-{tenant.slice_id}", ("test", "-d", hosts)
        stop = daemon.stop(pid_file, mark, "TERM")
        return (
            Command(stop, unless=("test", "!", "-e", own)),
            Command(("rm", "-f", own)),
            Command(("rmdir", "--ignore-fail-on-non-empty", hosts), unless=("test", "!", "-d", hosts)),
            Command(stop, unless=in_use),
            *self._start(subnet, daemon.is_running_or_unwanted(pid_file, mark, hosts), *extra),
            Command(("rm", "-f", pid_file, _log(subnet.vlan_id)), unless=in_use),
            *_remove_namespace(namespace, unless_also=hosts),
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
            f"--dhcp-hostsdir={_folder(dhcp_namespace(subnet.vlan_id))}/hosts",
            _mark(subnet.vlan_id),
            *extra,
        )

    # --- internet -----------------------------------------------------------------------------------------------------

    def _internet_step(self, tenant: Slice) -> Step:
        """The shared VLAN: its gateway in the root namespace, DHCP for known MACs only, forwarding and MASQUERADE."""
        vlan = self._internet.vlan_id
        ports = _ports(vlan)
        subnet = self._internet_subnet(tenant)
        only_known = "--dhcp-ignore=tag:!known"
        in_use = ("test", "-d", f"{_folder(dhcp_namespace(vlan))}/hosts")
        return Step(
            self._node,
            f"internet on VLAN {vlan}",
            do=(
                ovs.add_ports(ports),
                *_place(gateway_port(vlan), "", subnet.gateway, subnet.prefix, INTERNET_GATEWAY_MAC),
                *self._dhcp(tenant, subnet, only_known),
                Command(
                    ("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"),
                    unless=("grep", "-qx", "1", "/proc/sys/net/ipv4/ip_forward"),
                ),
                *self._add_rules(),
            ),
            undo=(
                *self._no_dhcp(tenant, subnet, only_known),
                Command(("sh", "-c", _REMOVE_RULES, "sh", ovs.OWNER), unless=in_use),
                Command(ovs.remove_ports(ports).argv, unless=in_use),
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
        return _Subnet(vlan, network.prefixlen, gateway, server, first, last, reservations, INTERNET_DHCP_MAC)

    def _add_rules(self) -> Iterator[Command]:
        """Our rules, each put before all others: so the first to be added is the last to be asked.

        Guests get out to the internet and answers come back; they reach neither this node nor the cloud's own hosts;
        of the networks that the uplink itself is in they reach the name server only, if it is there.
        """
        inside, uplink, dns = gateway_port(self._internet.vlan_id), self._internet.uplink, self._internet.dns
        answers = ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED")
        near = ("sh", "-c", _KEEP_FROM_NEAR, "sh", inside, uplink, ovs.OWNER)
        yield _add_rule("filter", "INPUT", "-i", inside, "-j", "DROP")
        yield _add_rule("filter", "INPUT", "-i", inside, "-p", "icmp", "-d", self._internet.gateway, "-j", "ACCEPT")
        yield _add_rule("filter", "FORWARD", "-o", inside, "-j", "DROP")
        yield _add_rule("filter", "FORWARD", "-i", inside, "-j", "DROP")
        yield _add_rule("filter", "FORWARD", "-i", uplink, "-o", inside, *answers, "-j", "ACCEPT")
        yield _add_rule("filter", "FORWARD", "-i", inside, "-o", uplink, "-j", "ACCEPT")
        for host in self._hosts:
            yield _add_rule("filter", "FORWARD", "-i", inside, "-d", host, "-j", "DROP")
        yield Command((*near, "-I"), unless=(*near, "-C"))
        for protocol in ("udp", "tcp"):
            name_server = ("-p", protocol, "-d", dns, "--dport", "53")
            yield _add_rule("filter", "FORWARD", "-i", inside, "-o", uplink, *name_server, "-j", "ACCEPT")
        yield _add_rule("nat", "POSTROUTING", "-s", self._internet.cidr, "-o", uplink, "-j", "MASQUERADE")


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _ports(vlan: int, marks: tuple[tuple[str, str], ...] = ()) -> list[ovs.Port]:
    """Gateway and DHCP server of a VLAN."""
    return [ovs.Port(name, vlan, marks, internal=True) for name in (gateway_port(vlan), dhcp_port(vlan))]


def _add_namespace(name: str) -> tuple[Command, ...]:
    """The namespace, and the folder in /run that says it is ours: both are gone after a reboot."""
    return (
        Command(("mkdir", _folder(name)), unless=("test", "-d", _folder(name))),
        Command(("ip", "netns", "add", name), unless=("test", "-e", f"/run/netns/{name}")),
    )


def _remove_namespace(name: str, unless_also: str = "") -> tuple[Command, ...]:
    """The namespace goes, if it is ours, and unless the folder `unless_also` says that somebody still needs it."""
    folder = _folder(name)
    kept = ("test", "!", "-d", folder, *(("-o", "-d", unless_also) if unless_also else ()))
    return (
        Command(("ip", "netns", "del", name), unless=(*kept, "-o", "!", "-e", f"/run/netns/{name}")),
        Command(("rmdir", folder), unless=kept),
    )


def _place(port: str, namespace: str, address: str, prefix: int, mac: str = "") -> tuple[Command, ...]:
    """Bring an internal port into `namespace` ("" is the root namespace) and give it its address, and `mac` if any.

    No IPv6 address: by it guests would reach whatever listens on the host.
    """
    lines = (
        f"link set dev {port} addrgenmode none{f' address {mac}' if mac else ''}",
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
    return daemon.is_running(_pid_file(vlan), _mark(vlan))


def _expect_dnsmasq(vlan: int) -> Command:
    return Command(daemon.expect_running(_pid_file(vlan), _mark(vlan)))


def _pid_file(vlan: int) -> str:
    return f"{_folder(dhcp_namespace(vlan))}/pid"


def _mark(vlan: int) -> str:
    return f"--pid-file={_pid_file(vlan)}"


def _folder(namespace: str) -> str:
    """What a namespace of ours keeps on disk; that it is there says that the namespace is ours."""
    return f"/run/{namespace}"


def _log(vlan: int) -> str:
    return f"/tmp/dnsmasq_vlan{vlan}.log"  # noqa: S108  (the documented place)


def _add_rule(table: str, chain: str, *rule: str) -> Command:
    marked = (chain, *rule, "-m", "comment", "--comment", ovs.OWNER)
    iptables = ("iptables", "-w", "10", "-t", table)
    return Command((*iptables, "-I", *marked), unless=(*iptables, "-C", *marked))

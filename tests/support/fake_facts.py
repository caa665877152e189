"""The answers of a fake host to the collection of facts: its state, in the form of the real programs."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from core.names import BRIDGE
from network import ovs

if TYPE_CHECKING:
    from tests.support.fake_hosts import Answer, FakeHost


UNTAGGED = -1
"""The tag of a port that carries every VLAN."""

NORMAL = "cookie=0x0, priority=0 actions=NORMAL"
ROUTES = """default via 10.0.10.254 dev ens3 proto dhcp src 10.0.10.3 metric 100
10.0.10.0/24 dev ens3 proto kernel scope link src 10.0.10.3
10.60.7.0/24 dev gw_vlan400 proto kernel scope link src 10.60.7.1
unreachable 10.1.0.0/16 metric 5
"""


def ports(host: FakeHost) -> str:
    """Return four tables, in the form of `ovs-vsctl --format=json`."""
    rows, interfaces = [], []
    of_bridge: dict[str, list[Any]] = {BRIDGE: [], **{bridge: [] for bridge in host.further}}
    placed = {name: host.bridges.get(name, BRIDGE) for name in host.ports}
    data_port = {name: BRIDGE for name in host.namespaces[""] if name == "ens4"}
    ways = {**data_port, **{port: bridge for bridge, port in host.further.items() if port}}
    for name, bridge in {BRIDGE: BRIDGE, **{each: each for each in host.further}, **ways, **placed}.items():
        identity = ["uuid", f"port-{name}"]
        protected = name in host.protected
        vlan = host.ports.get(name, UNTAGGED)
        tag, mode = _set() if vlan == UNTAGGED else vlan, "dot1q-tunnel" if name in host.tunnels else _set()
        of_bridge[bridge].append(identity)
        rows.append([identity, name, tag, _set(), mode, protected, ["uuid", f"interface-{name}"]])
        device = any(name in devices for devices in host.namespaces.values())
        marks = [["owner", ovs.OWNER], *host.marks.get(name, {}).items()] if name in host.ours else []
        kind = "" if name.startswith(("tap_", "ens")) else "internal"
        number = 7 if device or name in of_bridge else -1
        identity = ["uuid", f"interface-{name}"]
        interfaces.append([identity, name, kind, number, _set(), ["map", list(map(list, marks))], _map({})])
    queues = [[["map", [["owner", ovs.OWNER], ["queue", words], ["tap", tap]]]] for tap, words in host.queues.items()]
    passing = {"forward-bpdu": "true"} if host.tunnel else {}
    beside = []
    for bridge, made, joined in _tunnel(host):
        rows += made
        interfaces += joined
        of_bridge[host.tunnel[5]] += [row[0] for row in made if row[1] == host.tunnel[6]]
        there = [row[0] for row in made if row[1] != host.tunnel[6]]
        beside = [[bridge, ["set", there], "secure", _map({}), _map(_marks(host))]]
    bridges = [[name, ["set", each], _set(), _map(passing), _map({})] for name, each in of_bridge.items()] + beside
    tables = (
        (["name", "ports", "fail_mode", "other_config", "external_ids"], bridges),
        (["_uuid", "name", "tag", "trunks", "vlan_mode", "protected", "interfaces"], rows),
        (["_uuid", "name", "type", "ofport", "error", "external_ids", "options"], interfaces),
        (["external_ids"], [[["map", []]], *queues]),
    )
    return "".join(json.dumps({"headings": headings, "data": data}) + "\n" for headings, data in tables)


def _marks(host: FakeHost) -> dict[str, str]:
    return {"owner": host.tunnel[0], "tunnel": host.tunnel[1]}


def _tunnel(host: FakeHost) -> Iterator[tuple[str, list[list[Any]], list[list[Any]]]]:
    """Yield the bridge of the tunnel, with the rows of its ports, the patch of br-int included, and interfaces."""
    if not host.tunnel:
        return
    _, key, _, _, bridge, _, patch, peer, address, *ends = host.tunnel
    ports = {patch: ("patch", {"peer": peer}), peer: ("patch", {"peer": patch})}
    for name, remote in zip(ends[::2], ends[1::2], strict=True):
        ports[name] = ("geneve", {"key": key, "local_ip": address, "remote_ip": remote})
    rows = [[["uuid", f"port-{n}"], n, _set(), _set(), _set(), False, ["uuid", f"interface-{n}"]] for n in ports]
    interfaces = [
        [["uuid", f"interface-{name}"], name, kind, 9, _set(), _map(_marks(host)), _map(options)]
        for name, (kind, options) in ports.items()
    ]
    yield bridge, rows, interfaces


def _map(entries: Mapping[str, str]) -> list[Any]:
    return ["map", list(map(list, entries.items()))]


def _set() -> list[Any]:
    return ["set", []]


def devices(host: FakeHost, namespace: str) -> str:
    """Return devices in the form of `ip -j -d addr`."""
    return json.dumps(
        [
            {
                "ifname": name,
                "address": host.macs.get(name, "02:00:00:00:00:99"),
                "flags": _flags(host, name),
                "qdisc": host.queues.get(name, "noqueue").partition(" ")[0],
                **({"ifalias": host.aliases[name]} if name in host.aliases else {}),
                "addr_info": [{"family": "inet", "local": address} for address in sorted(addresses)],
            }
            for name, addresses in host.namespaces[namespace].items()
        ]
    )


def _flags(host: FakeHost, name: str) -> list[str]:
    silent = name.startswith("tap_") and name not in host.exposed
    up = name not in host.down
    found = {"UP": up, "LOWER_UP": up and _carrier(host, name), "NOARP": silent}
    return [flag for flag, is_set in found.items() if is_set]


def _carrier(host: FakeHost, name: str) -> bool:
    return not name.startswith("tap_") or name in host.holders


def stack(host: FakeHost) -> str:
    """Return the script's output: settings of devices, and sockets of QEMUs."""
    devices = [name for name in host.namespaces[""] if name.startswith(("tap_", "gw_vlan", "dhcp_v"))]
    settings = "".join(f"device {name} {int(name not in host.exposed)} 1\n" for name in devices)
    sockets = ""
    for pid, argv in host.argvs.items():
        if "-vnc" in argv:
            address, _, number = argv[argv.index("-vnc") + 1].partition(",")[0].rpartition(":")
            port = f"{address or '*'}:{5900 + int(number)}"
            sockets += f'socket LISTEN 0 1 {port} 0.0.0.0:* users:(("qemu-system-x86",pid={pid},fd=11))\n'
    return settings + sockets


def processes(host: FakeHost) -> str:
    running = host.argvs
    return "".join("\x1f".join((f"/proc/{pid}/cmdline:{argv[0]}", *argv[1:], "\n")) for pid, argv in running.items())


def states(host: FakeHost) -> str:
    """Return the answers of QEMUs to query-status; one whose state is empty does not answer."""
    said = (
        (path, json.dumps({"return": {"status": state}}) if state else "closed") for path, state in host.states.items()
    )
    return "".join(f"{path} {words}\n" for path, words in said if path in host.files)


def disks(host: FakeHost) -> str:
    words = ((pid, word) for pid, argv in host.argvs.items() for word in argv if word.startswith("file="))
    opened = "".join(f"/proc/{pid}/fd /home/ubuntu/{word[5:].split(',')[0]}\n" for pid, word in words)
    return opened + "".join(f"/proc/{pid}/fdinfo/9:iff:\t{tap}\n" for tap, pid in host.holders.items())


def files(host: FakeHost, folder: str) -> str:
    inside = [(f"{path} ", "f", len(text)) for path, text in host.files.items() if path.startswith(f"{folder}/")]
    inside += [(f"{path} ", "d", 4096) for path in host.folders if path.startswith(f"{folder}/")]
    listing = "".join(f"{kind} {size} 0.5 {path.strip()[len(folder) + 1 :]}\n" for path, kind, size in inside)
    pid_file = rf"{folder}/slice-[^/]+/[^/]+\.pid$"
    reported = rf"{pid_file}|{folder}/\.[^/]+\.seal$"
    pids = (f"{path}:{text}\n" for path, text in host.files.items() if re.match(reported, path))
    endings = (
        f"{path}:{text}\n" for path, text in host.files.items() if text.startswith("qemu_system_shutdown_request ")
    )
    seeds = (f"{path}:open\n" for path in host.files if path.endswith(".seed") and path in host.open_files)
    return f"{listing}\n{''.join(pids)}{''.join(endings)}{''.join(seeds)}"


def marks(host: FakeHost) -> str:
    folders = "".join(f"{path}\n" for path in host.folders if re.match(r"/run/ns-[^/]+$", path))
    kept = {path: text for path, text in host.files.items() if re.match(r"/run/ns-[^/]+/(pid|hosts/.+)$", path)}
    return f"{folders}\n" + "".join(
        f"{path}:{line}\n" for path, text in kept.items() for line in text.splitlines() or [""]
    )


def namespaces(host: FakeHost, shared: str, *, thorough: bool) -> str:
    """Return namespaces; routers, and those with a working DHCP server, show less, except the shared one."""
    entered = shown = ""
    for name, inside in host.namespaces.items():
        server = host.processes.get(f"/run/{name}/pid")
        dhcp_filter = server and name != shared and name not in host.deaf
        if (dhcp_filter or name.startswith("ns-gw-")) and not thorough:
            shown += _shown(host, name)
        elif name.startswith("ns-"):
            bound = ["if12"] if name in host.deaf else [device for device in inside if device.startswith("dhcp_")]
            sockets = "".join(f"UNCONN 0 0 0.0.0.0%{device}:67 0.0.0.0:*\n" for device in bound if server)
            ipv6 = " lo" if name in host.exposed else ""
            entered += f"namespace {name}\n{int(name in host.forwarding)}{ipv6}\n{devices(host, name)}\n{sockets}"
    return entered + shown


def _shown(host: FakeHost, name: str) -> str:
    """Return /proc/pid/net's output: all subnets have 256 addresses, and numbers the lowest byte first."""
    facts = ["routes"] if name in host.forwarding and name.startswith("ns-gw-") else []
    for device, addresses in host.namespaces[name].items():
        for address in sorted(addresses) if device not in host.down else ():
            subnet = bytes([0, *reversed(ipaddress.IPv4Address(address).packed[:3])]).hex().upper()
            facts += [f"network {subnet} 00FFFFFF {device}", f"address {address}", f"address {address}"]
    if name.startswith("ns-gw-") or not any(fact.startswith("network ") for fact in facts):
        facts += [f"device {device}" for device in host.namespaces[name]]
    return "".join(f"in {name} {fact}\n" for fact in facts)


def rules(host: FakeHost) -> str:
    """Return rules in the form of `iptables-save`; the uplink is in one network."""
    said = ""
    for table in ("filter", "mangle", "nat"):
        ours = [rule.removeprefix(f"{table} ") for rule in host.rules if rule.startswith(f"{table} ")]
        said += f"*{table}\n" + "".join(f"{rule.replace('NEAR', '10.0.10.0/24')}\n" for rule in ours) + "COMMIT\n"
    return said


def dhcp_filter(host: FakeHost, namespace: str) -> str:
    """Return the chains of slices in the form of `iptables-save -t filter`: INPUT first."""
    chains = host.filters.get(namespace, {})
    lines = [line for rules in chains.values() for line in rules]
    entries = "".join(f"{line}\n" for line in lines if line.startswith("-A INPUT "))
    rest = "".join(f"{line}\n" for line in lines if not line.startswith(("-A INPUT ", ":")))
    policy = "DROP" if ":INPUT DROP" in lines else "ACCEPT"
    made = "".join(f":{chain} - [0:0]\n" for chain in chains)
    return f"*filter\n:INPUT {policy} [0:0]\n:OUTPUT ACCEPT [0:0]\n{made}{entries}{rest}COMMIT\n"


def bounds(host: FakeHost) -> str:
    """Return nftables' listing of each namespace."""
    inside = (name for name in host.namespaces if name)
    return "".join(f"namespace {name}\n{host.bounds.get(name, '')}\n" for name in inside)


def logs(host: FakeHost) -> str:
    """Return the names of logs in /tmp; a link to our log is ours."""
    found = sorted(path for path in host.files if re.fullmatch(r"/tmp/dnsmasq_vlan\d+\.log", path))
    whose = ("ours" if host.files[path].startswith("/run/ns-dhcp-vlan") else "foreign" for path in found)
    return "".join(f"{who} {path.removeprefix('/tmp/')}\n" for who, path in zip(whose, found, strict=True))


def snapshots(host: FakeHost, images: str) -> str:
    """Return the tags in disks, a line for each."""
    found = ((disk, tag) for disk, tags in host.snapshots.items() if disk in host.files for tag in tags)
    return "".join(f"{disk.removeprefix(f'{images}/')} {tag}\n" for disk, tag in found)


def answer(host: FakeHost, argv: tuple[str, ...]) -> Answer | None:  # noqa: C901, PLR0912
    """Return the host's answer to a command of the collection; None for another command."""
    match argv:
        case ("ovs-vsctl", "--timeout=5", "--format=json", *_):
            said = ports(host)
        case ("ovs-ofctl", "--timeout=5", "--no-stats", "--names", "dump-flows", bridge):
            own = {
                key: flows
                for key, flows in host.flows.items()
                if key.rpartition(" ")[0] == ("" if bridge == BRIDGE else bridge)
            }
            flows = [NORMAL, *(flow for flows in own.values() for flow in flows)]
            said = "".join(f" {flow}\n" for flow in flows)
        case ("ovs-appctl", "--timeout=5", "fdb/show", bridge):
            said = learned(host, bridge)
        case ("ip", "-j", "-d", "addr"):
            said = devices(host, "")
        case ("ip", "-4", "-o", "route", "show"):
            said = ROUTES
        case ("ss", "-Htn", "state", "established", _):
            said = ""
        case ("ovs-appctl", "--timeout=5", "ofproto/trace", _, packet):
            said = f"Final flow: unchanged\nDatapath actions: {_passed(host, packet)}\n"
        case ("ip", "-n", namespace, "route", "get", address):
            found = namespace in host.ways
            return (
                (0, f"{address} dev ens3 \n", "") if found else (2, "", "RTNETLINK answers: Network is unreachable\n")
            )
        case ("ip", "route", "get", address, "from", _, "iif", tap):
            found = tap in host.ways
            return (
                (0, f"local {address} dev lo \n", "")
                if found
                else (2, "", "RTNETLINK answers: Invalid cross-device link\n")
            )
        case ("nft", "list", "ruleset", "inet"):
            said = "".join(f"{table}\n" for table in host.tables.values())
        case ("iptables-save",):
            said = rules(host)
        case ("sh", "-c", _, name, *words) | ("timeout", _, _, "sh", "-c", _, name, *words):
            return _script(host, name, words)
        case _:
            return None
    return 0, said, ""


def learned(host: FakeHost, bridge: str) -> str:
    """Return the MACs that a bridge has seen: those of TAPs on it, and those that the test adds."""
    own = {
        (tag, host.macs[name])
        for name, tag in host.ports.items()
        if name in host.macs and host.bridges.get(name, BRIDGE) == bridge
    }
    rows = sorted(own | host.heard.get(bridge, set()))
    return " port  VLAN  MAC                Age\n" + "".join(f"    7  {vlan:4}  {mac}    3\n" for vlan, mac in rows)


def _passed(host: FakeHost, packet: str) -> str:
    """Return the path of a packet: a VM's own broadcast goes out on its VLAN, all else is dropped.

    By a transparent link it may have a tag of its own.
    """
    port = packet.split(",", maxsplit=1)[0].removeprefix("in_port=")
    if any(port.startswith(name) for name in host.lets_through):
        return "push_vlan(vid=4000,pcp=0),1"
    tagged = "dl_vlan=" in packet and port not in host.tunnels
    tame = not tagged and "dl_src=52:54:00" in packet and ",ip," not in packet and ",arp," not in packet
    return f"push_vlan(vid={host.ports[port]},pcp=0),1" if tame else "drop"


def _script(host: FakeHost, name: str, words: list[str]) -> Answer | None:
    said: dict[str, Callable[[], str]] = {
        "list-processes.sh": lambda: processes(host),
        "list-states.sh": lambda: states(host),
        "list-disks.sh": lambda: disks(host),
        "list-snapshots.sh": lambda: snapshots(host, words[0]),
        "list-files.sh": lambda: files(host, words[0]),
        "list-marks.sh": lambda: marks(host),
        "list-namespaces.sh": lambda: namespaces(host, words[0], thorough=bool(words[1])),
        "list-dhcp-filter.sh": lambda: dhcp_filter(host, words[0]) if words[0] in host.namespaces else "",
        "list-forwarding.sh": lambda: f"{int('' in host.forwarding)}\n",
        "list-stack.sh": lambda: stack(host),
        "list-tunnel.sh": lambda: "".join(f" {flow}\n" for flow in host.tunnel_flows),
        "list-bounds.sh": lambda: bounds(host),
        "list-limits.sh": lambda: "1024\n262144\n120\n",
        "list-logs.sh": lambda: logs(host),
        "list-programs.sh": lambda: "".join(f"{word}{'' if word in host.lacking else ' there'}\n" for word in words),
    }
    return (0, said[name](), "") if name in said else None

"""Hosts in memory: they answer like a real host, and refuse what a real host would refuse.

A program or script that is not in the table fails the test.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import vm_launcher
from core.errors import HostUnreachable, TakenOver
from core.names import BRIDGE
from network import ovs
from remote.conversation import LATE
from remote.plan import CHANGE_DEADLINE_SECONDS, NO_FENCE, TIMEOUT_SECONDS, Command, Step, Upload
from remote.transcript import Outcome, UploadProgress
from tests.support import fake_facts

CLOCK = time.time
MAX_INTERFACE_NAME = 15
IMAGES = ("cirros.img", "installer.qcow2")
"""The images of the designs."""

MAX_SOCKET_PATH = 107

Answer = tuple[int, str, str]
OK: Answer = (0, "", "")
FORGOTTEN = (
    "is there already, of a slice that database.yaml does not know (was an older version put back?); have the operator "
    "remove it with: python3 cli.py doctor --fix"
)
TAKEN = (
    "is there already, of a slice that database.yaml does not know (was an older version put back?); create another "
    "slice and delete this one, then an operator removes it with: python3 cli.py doctor --fix"
)


def no(words: str, status: int = 1) -> Answer:
    return status, "", words


def listed(names: Iterable[str]) -> Answer:
    return 0, "".join(f"{name}\n" for name in names), ""


def _key(bridge: str, cookie: str) -> str:
    """Return the key of flows: the cookie, behind the bridge where it is not the usual one."""
    marked = f"cookie={cookie.removeprefix('cookie=')}"
    return marked if bridge == BRIDGE else f"{bridge} {marked}"


@dataclass
class FakeHost:
    """One host.

    Of a seed it keeps the digest; `open_files` are those that others could read. `faults`: the beginning of a step's
    title -> its answer, once, instead of running; `dead`: no answer. `exposed`: devices and namespaces whose frames
    reach the host's own IP stack. `states` and `links`: of QEMUs, by QMP socket. `signs`: VM id -> what the host sees
    of a VM beyond its process. `bridges`: those of ports, where it is not `br-int`; `further`: bridge -> its data port.
    `tunnel`: the words with which the end of the tunnel was made; it stays behind.
    `heard`: bridge -> VLANs and MACs of frames that came from elsewhere.
    """

    address: str
    folders: set[str] = field(default_factory=lambda: {"/run", "/tmp"})
    files: dict[str, str] = field(default_factory=dict)
    open_files: set[str] = field(default_factory=set)
    namespaces: dict[str, dict[str, set[str]]] = field(default_factory=lambda: {"": {"ens3": set(), "ens4": set()}})
    ports: dict[str, int] = field(default_factory=dict)
    bridges: dict[str, str] = field(default_factory=dict)
    further: dict[str, str] = field(default_factory=dict)
    heard: dict[str, set[tuple[int, str]]] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)
    flows: dict[str, list[str]] = field(default_factory=dict)
    processes: dict[str, tuple[str, int]] = field(default_factory=dict)
    argvs: dict[int, tuple[str, ...]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    macs: dict[str, str] = field(default_factory=dict)
    marks: dict[str, dict[str, str]] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    memory_kib: int = 16 << 20
    foreign_ports: set[int] = field(default_factory=set)
    skew: float = 0.0
    lets_through: set[str] = field(default_factory=set)
    ways: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    queues: dict[str, str] = field(default_factory=dict)
    tunnels: set[str] = field(default_factory=set)
    tunnel: tuple[str, ...] = ()
    tunnel_flows: list[str] = field(default_factory=list)
    has_netem: bool = True
    holders: dict[str, int] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    links: dict[str, dict[str, bool]] = field(default_factory=dict)
    signs: dict[str, list[str]] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    snapshots: dict[str, dict[str, str]] = field(default_factory=dict)  # disk -> tag -> its content then
    mute: set[str] = field(default_factory=set)  # pid files of VMs whose QEMU does not answer
    stubborn: set[str] = field(default_factory=set)  # pid files of VMs that do not obey their power buttons
    rules: list[str] = field(default_factory=list)
    forwarding: set[str] = field(default_factory=set)
    bounds: dict[str, str] = field(default_factory=dict)
    filters: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    tables: dict[str, str] = field(default_factory=dict)
    exposed: set[str] = field(default_factory=set)
    faults: dict[str, Answer] = field(default_factory=dict)
    dead: bool = False
    dies_after: int | None = None
    cut_after: int | None = None
    runs: int = 0
    locks: list[str] = field(default_factory=list)
    fences: dict[str, int] = field(default_factory=dict)
    _last_pid: int = 100

    def run(
        self,
        steps: Sequence[Step],
        *,
        keep_going: bool = False,
        lock: str = "",
        timeout: float = TIMEOUT_SECONDS,
        deadline: float = CHANGE_DEADLINE_SECONDS,
        fence: int = NO_FENCE,
    ) -> Generator[Outcome | UploadProgress, None, None]:
        self.runs += 1
        self.locks.append(lock)
        assert 0 < timeout <= deadline
        assert lock or fence == NO_FENCE
        if fence and fence < self.fences.get(lock, NO_FENCE):
            raise TakenOver(LATE.format(self.address))
        if fence:
            self.fences[lock] = fence
        for number, step in enumerate(steps):
            part = next((part for part in self.faults if step.title.startswith(part)), None)
            for index, action in enumerate(step.do):
                self._live(begun=bool(number or index))  # a host can die between any two commands
                if action.unless and self.program(action.unless)[0] == 0:
                    yield Outcome(number, index, None)
                    continue
                status, stdout, stderr = self.faults.pop(part) if part in self.faults else self._act(action)
                yield Outcome(number, index, status, stdout, stderr)
                if isinstance(action, Command) and status not in action.ok and not keep_going:
                    return

    def expect(self, *, repeatable: bool = False) -> None:
        """Do nothing: the host keeps no shell."""

    def state(self) -> dict[str, Any]:
        """Return all objects that a slice could leave behind; the cache of base images is meant to stay."""
        return {
            "files": {path: text for path, text in self.files.items() if not any(i in path for i in IMAGES)},
            "folders": self.folders - {"vm_images"},
            "namespaces": self.namespaces,
            "ports": self.ports,
            "down": self.down,
            "queues": self.queues,
            "tunnels": self.tunnels,
            "flows": self.flows,
            "processes": self.processes,
            "rules": self.rules,
            "tables": self.tables,
            "filters": {namespace: chains for namespace, chains in self.filters.items() if chains},
        }

    def _live(self, *, begun: bool) -> None:
        if self.dies_after is not None:
            self.dies_after -= 1
            self.dead = self.dead or self.dies_after < 0
        if self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:  # only the connection dies: the next one finds the host in its present state
                self.cut_after = None
                raise HostUnreachable(self.address, "the connection was lost in the middle of a command", begun=True)
        if self.dead:
            raise HostUnreachable(self.address, "no answer on port 22 in time", begun=begun)

    def _act(self, action: Command | Upload) -> Answer:
        if isinstance(action, Upload):
            self.files[action.target] = "image"
            return OK
        return self.program(action.argv, action.stdin)

    def program(self, argv: tuple[str, ...], stdin: str = "") -> Answer:
        """Run one program."""
        if seen := fake_facts.answer(self, argv):
            return seen
        if argv[:2] == ("sh", "-c"):
            return SCRIPTS[argv[3]](self, argv[4:], stdin)
        return PROGRAMS[argv[0]](self, argv[1:], stdin)

    # --- base images --------------------------------------------------------------------------------------------------

    def list_images(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        """List the files in the folder of images itself; each has as many bytes as characters."""
        paths = {path: path.removeprefix(f"{argv[0]}/") for path in self.files if path.startswith(f"{argv[0]}/")}
        shown = {path: name for path, name in paths.items() if "/" not in name and not name.startswith(".")}
        return listed(f"{len(self.files[path])} {name}" for path, name in shown.items())

    def list_fences(self, _argv: tuple[str, ...], _stdin: str) -> Answer:
        return listed(f"{lock} {fence}" for lock, fence in self.fences.items())

    def remove_image(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for path in argv:
            self.files.pop(path, None)
        return OK

    # --- coreutils ----------------------------------------------------------------------------------------------------

    def exists(self, path: str) -> bool:
        if path.startswith("/sys/class/net/"):
            return path.rsplit("/", 1)[1] in self.namespaces[""]
        if path.startswith("/run/netns/"):
            return path.rsplit("/", 1)[1] in self.namespaces
        return path in self.files or path in self.folders

    def test(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        """Run test(1) with `!`, `-a`, which binds less, and `-o`, which binds least."""
        for operator, joined in (("-o", min), ("-a", max)):
            if operator in argv:
                split = argv.index(operator)
                return joined(self.test(argv[:split], ""), self.test(argv[split + 1 :], ""))
        match argv:
            case ("!", *rest):
                return (1 - self.test(tuple(rest), "")[0], "", "")
            case ("-d", path):
                return (int(path not in self.folders), "", "")
            case ("-e", path):
                return (int(not self.exists(path)), "", "")
            case ("-s", path):
                return (int(not self.files.get(path)), "", "")
        raise AssertionError(argv)

    def mkdir(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        parts = argv[-1].split("/")
        self.folders |= {"/".join(parts[: end + 1]) for end in range(len(parts)) if parts[end]}
        return OK

    def rm(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for path in argv[1:]:
            if path in self.folders and argv[0] != "-rf":
                return no(f"rm: cannot remove '{path}': Is a directory")
            inside = [p for p in (*self.files, *self.folders) if p.startswith(f"{path}/")]
            for gone in (path, *inside):
                self.files.pop(gone, None)
                self.snapshots.pop(gone, None)
                self.folders.discard(gone)
        return OK

    def rmdir(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        *options, folder = argv
        if folder not in self.folders:
            return no(f"rmdir: failed to remove '{folder}': No such file or directory")
        if not any(path.startswith(f"{folder}/") for path in (*self.files, *self.folders)):
            self.folders.discard(folder)
        elif options != ["--ignore-fail-on-non-empty"]:
            return no(f"rmdir: failed to remove '{folder}': Directory not empty")
        return OK

    def check_no_reservations(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        inside = [path for path in self.files if path.startswith(f"{argv[0]}/")]
        return no(f"{argv[0]} holds what is not known to be a slice's: {inside}") if self.exists(argv[0]) else OK

    def are_written(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return (int(not all(self.files.get(path) for path in argv)), "", "")

    def write(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        namespace, path, *lines = argv
        if self.files.get(path):
            return OK
        status, _, complaint = self._put(path, "".join(f"{line}\n" for line in lines))
        return (status, f"{namespace.removeprefix('ns-dhcp-vlan')}\n", complaint)

    def _put(self, path: str, text: str) -> Answer:
        if path.rpartition("/")[0] not in self.folders:
            return no(f"sh: cannot create {path}: Directory nonexistent", 2)
        self.files[path] = text
        return OK

    # --- iproute2 -----------------------------------------------------------------------------------------------------

    def ip(self, argv: tuple[str, ...], stdin: str) -> Answer:
        match argv:
            case ("-n", namespace, *rest):
                if namespace not in self.namespaces:
                    return no(f'Cannot open network namespace "{namespace}": No such file or directory')
                return self._ip(namespace, tuple(rest), stdin)
        return self._ip("", argv, stdin)

    def are_there(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        name, path, bounds = argv
        settled = name in self.namespaces and name not in self.exposed and self.bounds.get(name, "") == bounds
        return (int(not (settled and path in self.folders)), "", "")

    def add_namespaces(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        name, path, rules = argv
        self.mkdir((path,), "")
        self.exposed.discard(name)
        if name not in self.namespaces:
            self.namespaces[name] = {"lo": set()}
            self.forwarding |= {name} if "" in self.forwarding else set()  # as after a boot
        if tables := [line for line in rules.splitlines() if not line.startswith(("add ", "delete "))]:
            self.bounds[name] = " ".join(" ".join(tables).split())
        return OK

    def remove_namespaces(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for name in argv:
            if f"/run/{name}" in self.folders and f"/run/{name}/pid" not in self.processes:
                self.namespaces.pop(name, None)
                self.forwarding.discard(name)
                self.filters.pop(name, None)
                self.bounds.pop(name, None)
                self.rm(("-rf", f"/run/{name}"), "")
        return OK

    def _ip(self, namespace: str, argv: tuple[str, ...], stdin: str) -> Answer:
        devices = self.namespaces[namespace]
        match argv:
            case ("-batch", "-"):
                answers = [self._ip(namespace, tuple(line.split()), "") for line in stdin.splitlines()]
                return next((answer for answer in answers if answer[0]), OK)
            case ("link", "del", "dev", name) | ("link", "show", "dev", name) if name not in devices:
                return no(f'Cannot find device "{name}"')
            case ("link", "del", "dev", name):
                del devices[name]
                return OK
            case ("link", "set", "dev", name, "addrgenmode", "none", "address", mac):
                self.macs[name] = mac
                return OK
            case ("link", "set", "dev", name, *_) | ("addr", "replace", _, "dev", name) if name not in devices:
                return no(f'Cannot find device "{name}"')
            case ("addr", "replace", address, "dev", name):
                devices[name].add(address.split("/")[0])
                return OK
            case ("link", "show" | "set", *_):
                return OK
        raise AssertionError(argv)

    def taps_are_made(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        owner, *taps = argv
        return (int(not all(self._is_made(owner, *tap) for tap in _in_pairs(tuple(taps)))), "", "")

    def _is_made(self, owner: str, state: str, tap: str) -> bool:
        ours = tap in self.namespaces[""] and self.aliases.get(tap) == owner and tap not in self.exposed
        return ours and (state == "up" or tap in self.down)

    def make_taps(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        owner, user, *taps = argv
        assert user
        made = [tap for state, tap in _in_pairs(tuple(taps)) if not self._is_made(owner, state, tap)]
        for tap in made:
            if len(tap) > MAX_INTERFACE_NAME:
                return no(f'Error: argument "{tap}" is wrong: "name" not a valid ifname', 255)
            self.namespaces[""].setdefault(tap, set())
            self.aliases[tap] = owner
            self.down.add(tap)
            self.exposed.discard(tap)
        return (0, "".join(f"{tap}\n" for tap in made), "")

    def remove_taps(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        owner, group, *taps = argv
        assert int(group) < 1 << 31
        for tap in taps:
            if self.aliases.get(tap) == owner:
                del self.namespaces[""][tap], self.aliases[tap]
                self.holders.pop(tap, None)
                self.down.discard(tap)
        return OK

    def taps_are_up(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return (int(any(tap in self.down or tap not in self.namespaces[""] for tap in argv)), "", "")

    def raise_taps(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        """Bring TAPs up, and let the test fail where frames would pass without port security."""
        raised = [tap for tap in argv if tap in self.down]
        flows = " ".join(flow for flows in self.flows.values() for flow in flows)
        assert all(tap in self.ports and f"in_port={tap}," in flows for tap in raised)
        self.down -= {*raised}
        return listed(raised)

    def lower_taps(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        owner, *taps = argv
        self.down |= {tap for tap in taps if tap in self.namespaces[""] and self.aliases.get(tap) == owner}
        return OK

    def raise_taps_again(self, _argv: tuple[str, ...], stdin: str) -> Answer:
        self.down -= {line.removesuffix(" up") for line in stdin.splitlines() if line.endswith(" up")}
        return OK

    def join_taps(self, argv: tuple[str, ...], stdin: str) -> Answer:
        count, *words = argv
        for wanted in words[: int(count)]:
            name = wanted.partition(",")[0]
            if name in self.namespaces[""] and self.check_tags((wanted,), "")[0]:
                self.down.add(name)
        return self.vsctl(("--timeout=20", *words[int(count) :]), stdin)

    def check_taps(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        owner, *taps = argv
        wrong = [
            tap
            for state, tap in _in_pairs(tuple(taps))
            if not self._is_made(owner, state, tap) or (state == "up" and tap in self.down)
        ]
        return no(f"TAP {wrong[0]} is not as it was made") if wrong else OK

    def nft(self, argv: tuple[str, ...], stdin: str) -> Answer:
        """Read a file that replaces a table or removes it."""
        assert argv == ("-f", "-")
        if "nft" in self.lacking:
            return no("sh: nft: not found", 127)
        add, delete, *table = stdin.splitlines()
        name = add.removeprefix("add table inet ")
        assert delete == f"delete table inet {name}"
        self.tables.pop(name, None)
        if table:
            assert table[0] == f"table inet {name} {{"
            self.tables[name] = "\n".join(table)
        return OK

    def check_taps_dropped(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        table, listing, *_taps = argv
        found = " ".join(self.tables.get(table, "").split())
        return OK if found == listing else no(f"nftables has not the table {table} as it was made")

    def check_tap_names(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        owner, *taps = argv
        there = [tap for tap in taps if tap in self.namespaces[""]]
        foreign = [tap for tap in there if self.aliases.get(tap) != owner]
        return no(f"a device {foreign[0]} is there that is not ours") if foreign else listed(self._with_states(there))

    def _with_states(self, taps: Iterable[str]) -> Iterator[str]:
        for tap in taps:
            yield tap
            yield from () if tap in self.down else (f"{tap} up",)

    def list_drop(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return listed(self.tables.get(argv[0], "").splitlines())

    def are_in_place(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        namespace, routes, _ = argv[:3]
        good = namespace in self.namespaces and routes in ("", str(int(namespace in self.forwarding)))
        return (int(not (good and all(self._is_right(namespace, *place) for place in _places(argv)))), "", "")

    def put_in_place(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        namespace, routes, count = argv[:3]
        if namespace not in self.namespaces:
            return no(f"nsenter: cannot open /run/netns/{namespace}: No such file or directory")
        wrong = [place for place in _places(argv) if not self._is_right(namespace, *place)]
        devices, here = self.namespaces[namespace], self.namespaces[""]
        if lost := [port for port, _, _ in wrong if port not in here and port not in devices]:
            for port in lost:
                self.ports.pop(port, None)
            self.program(argv[3 + 3 * int(count) :])
        for port, address, mac in wrong:
            if namespace and port in here:
                if devices.pop(port, None) is not None:
                    self.deaf.add(namespace)
                devices[port] = here.pop(port)
            devices[port].add(address.split("/")[0])
            self.exposed.discard(port)
            self.macs |= {port: mac} if mac else {}
        if routes:
            (self.forwarding.add if routes == "1" else self.forwarding.discard)(namespace)
        return (0, "".join(f"{port.removeprefix('gw_vlan').removeprefix('dhcp_v')}\n" for port, _, _ in wrong), "")

    def _is_right(self, namespace: str, port: str, address: str, mac: str) -> bool:
        if (namespace and port in self.namespaces[""]) or port in self.exposed:
            return False
        found = self.namespaces[namespace].get(port, set())
        return address.split("/", maxsplit=1)[0] in found and mac in ("", self.macs.get(port))

    def set_filter(self, argv: tuple[str, ...], stdin: str) -> Answer:
        """Replace a chain by its rules; without rules remove it, which fails for a missing one."""
        namespace, chain, *rules = argv
        rules = rules or stdin.splitlines()
        if namespace not in self.namespaces:
            return no(f'Cannot open network namespace "{namespace}": No such file or directory')
        chains = self.filters.setdefault(namespace, {})
        if rules:
            chains[chain] = tuple(rules)
        elif chains.pop(chain, None) is None:
            return no("iptables-restore: line 2 failed")
        return OK

    def filter_has_rules(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        namespace, chain, *rules = argv
        return (int(self.filters.get(namespace, {}).get(chain) != tuple(rules)), "", "")

    def list_chain(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return listed(self.filters.get(argv[0], {}).get(argv[1], ()))

    def filter_is_gone(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return (int(argv[1] in self.filters.get(argv[0], {})), "", "")

    def sysctl(self, _argv: tuple[str, ...], _stdin: str) -> Answer:
        self.forwarding.add("")
        return OK

    def grep(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        assert argv == ("-qx", "1", "/proc/sys/net/ipv4/ip_forward")
        return (int("" not in self.forwarding), "", "")

    def has_rules(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        owner, _uplink, *rules = argv
        ours = [index for index, rule in enumerate(self.rules) if f" --comment {owner} " in rule]
        standing = self.rules[: ours[-1] + 1] if ours else []
        return (int(standing != [rule for rule in rules if f" --comment {owner} " in rule]), "", "")

    def put_up_rules(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        owner, _uplink, *rules = argv
        ours = [rule for rule in rules if rule]
        assert all(f"--comment {ovs.OWNER} " in rule for rule in ours), "a rule without our mark"
        self.rules = [*ours, *(rule for rule in self.rules if f" --comment {owner} " not in rule)]
        return OK

    # --- Open vSwitch -------------------------------------------------------------------------------------------------

    def vsctl(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for words in _split(argv[1:]):
            match words:
                case ("--if-exists", "del-port", *_, name):
                    self._delete_port(name)
                case ("--may-exist", "add-port", bridge, name, tag, "protected=true" | "protected=false"):
                    if fault := self._add_port(bridge, name, int(tag.removeprefix("tag="))):
                        return no(fault)
                case ("set", "Port", name, tag, protected, "trunks=[]", mode, *others):
                    assert bool(others) == (mode == "vlan_mode=dot1q-tunnel")
                    (self.tunnels.add if others else self.tunnels.discard)(name)
                    self.ports[name] = int(tag.removeprefix("tag="))
                    (self.protected.add if protected == "protected=true" else self.protected.discard)(name)
                case ("set", "Interface", name, *settings):
                    assert f"external_ids:owner={ovs.OWNER}" in settings
                    self.ours.add(name)
                    ids = (
                        word.removeprefix("external_ids:").split("=") for word in settings if "external_ids:" in word
                    )
                    self.marks[name] = {key: value for key, value in ids if key != "owner"}
                    if "type=internal" in settings:
                        assert len(name) <= MAX_INTERFACE_NAME
                        if not any(name in devices for devices in self.namespaces.values()):
                            self.namespaces[""][name] = set()
                    elif name not in self.namespaces[""]:
                        return no(f"could not open network device {name} (No such device)")
                case _:
                    raise AssertionError(words)
        return OK

    def remove_ports(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for name in self.ours & set(argv):
            self.ours.discard(name)
            self.protected.discard(name)
            self.tunnels.discard(name)
            del self.ports[name]
            self.bridges.pop(name, None)
            for devices in self.namespaces.values():
                if not name.startswith("tap_"):
                    devices.pop(name, None)
        return OK

    def check_port_names(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        there = [name for name in argv if name in self.ports]
        foreign = [name for name in there if name not in self.ours]
        return no(f"a port {foreign[0]} is there that is not ours") if foreign else listed(there)

    def check_free_ports(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        found = [name for name in argv if name in self.ports]
        return no(f"port {found[0]} {FORGOTTEN}") if found else OK

    def check_free_paths(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        found = [path for path in argv if self.exists(path)]
        return no(f"{found[0]} {FORGOTTEN}") if found else OK

    def check_namespace_names(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        foreign = [name for name in argv if name in self.namespaces and f"/run/{name}" not in self.folders]
        there = [name for name in argv if f"/run/{name}" in self.folders]
        servers = [
            f"dnsmasq of VLAN {name[len('ns-dhcp-vlan') :]}" for name in there if f"/run/{name}/pid" in self.files
        ]
        return no(f"a namespace {foreign[0]} is there that is not ours") if foreign else listed([*there, *servers])

    def ofctl(self, argv: tuple[str, ...], stdin: str) -> Answer:
        match argv[1:]:
            case ("--bundle", "add-flows", bridge, "-"):
                missing = {tap for tap in re.findall(r"in_port=(\w+)", stdin) if not self._is_on(bridge, tap)}
                if missing:
                    return no(f"ovs-ofctl: {missing}: invalid or unknown port for in_port")
                delete, *lines = stdin.splitlines()
                cookie = delete.removeprefix("delete ").removesuffix("/-1")
                self.flows.pop(_key(bridge, cookie), None)
                self.flows |= {_key(bridge, cookie): [line.removeprefix("add ") for line in lines]} if lines else {}
                assert all(line.removeprefix("add ").startswith(f"{cookie},") for line in lines), lines
            case ("--bundle", "replace-flows", bridge, "-"):
                assert bridge == self.tunnel[4]
                self.tunnel_flows = stdin.splitlines()
            case ("bundle", _, "-"):
                assert all(line.startswith("packet-out ") for line in stdin.splitlines()), stdin
            case _:
                raise AssertionError(argv)
        return OK

    def _delete_port(self, name: str) -> None:
        if name in self.tunnel:
            at = self.tunnel.index(name)
            self.tunnel = (*self.tunnel[:at], *self.tunnel[at + 2 :])
        self.remove_ports((name,), "")

    def _add_port(self, bridge: str, name: str, tag: int) -> str:
        if bridge not in {BRIDGE, *self.further}:
            return f"no bridge named {bridge}"
        if name in self.ports and not self._is_on(bridge, name):
            return f"cannot create a port named {name}, which another bridge has"
        self.bridges |= {name: bridge} if bridge != BRIDGE else {}
        self.ports.setdefault(name, tag)
        return ""

    def _is_on(self, bridge: str, port: str) -> bool:
        return port in self.ports and self.bridges.get(port, BRIDGE) == bridge

    def set_tunnel(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        assert all(len(name) <= MAX_INTERFACE_NAME for name in argv[9::2])
        self.tunnel = argv
        return OK

    def tunnel_is_set(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return OK if self.tunnel == argv else no("a port of the tunnel is missing")

    def check_tunnel_flows(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return OK if sorted(self.tunnel_flows) == sorted(argv[2:]) else no("the flows are not those that were made")

    def remove_tunnel(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        assert argv == self.tunnel[:2]
        self.tunnel, self.tunnel_flows = (), []
        return OK

    def put_back_flows(self, argv: tuple[str, ...], stdin: str) -> Answer:
        self.flows.pop(_key(*argv), None)
        self.flows |= {_key(*argv): stdin.splitlines()} if stdin else {}
        return OK

    def list_flows(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return listed(self.flows.get(_key(*argv), ()))

    def check_flows(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        bridge, cookie, *flows = argv
        same = sorted(self.flows.get(_key(bridge, cookie), [])) == sorted(flows)
        return OK if same else no(f"the flows of {cookie} are not those that were made")

    def check_tags(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for wanted in argv:
            name, tag, *rest = wanted.split(",")
            protected, *mode = rest or [""]
            if tag == "-":
                if name in self.ports:
                    return no(f"port {name} is on a bridge, but its interface has no link")
                continue
            is_open = bool(mode) != (name in self.tunnels)
            if self.ports.get(name) != int(tag) or (name in self.protected) != (protected == "true") or is_open:
                return no(f"port {name} is not on the bridge with just tag and protection {tag},{protected}")
        return OK

    # --- processes ----------------------------------------------------------------------------------------------------

    def serve(self, argv: tuple[str, ...], stdin: str) -> Answer:
        namespace, pid_file, mark, log, link, program, *options = argv
        if self.serves((namespace, pid_file, mark), stdin)[0] == 0:
            return OK
        if namespace not in self.namespaces:
            return no(f'Cannot open network namespace "{namespace}": No such file or directory')
        assert program == "dnsmasq"
        self.stop(("TERM", pid_file, mark), stdin)
        self.files.pop(log, None)
        self.files.setdefault(link, log)
        status, _, complaint = self.dnsmasq(namespace, options)
        return (status, f"{namespace.removeprefix('ns-dhcp-vlan')}\n", complaint)

    def stop_servers(self, argv: tuple[str, ...], stdin: str) -> Answer:
        for namespace, link, own in zip(argv[::3], argv[1::3], argv[2::3], strict=True):
            folder = f"/run/{namespace}"
            self.stop(("TERM", f"{folder}/pid", f"--pid-file={folder}/pid"), stdin)
            for path in (f"{folder}/pid", f"{folder}/log", own):
                self.files.pop(path, None)
            self.remove_log_links((link,), "")
        return OK

    def remove_log_links(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for link in argv:
            if self.files.get(link, "").startswith("/run/"):
                del self.files[link]
        return OK

    def leave(self, argv: tuple[str, ...], stdin: str) -> Answer:
        own, folder, *server = argv
        if own in self.files:
            self.stop(("TERM", server[1], server[2]), stdin)
            del self.files[own]
        if not any(path.startswith(f"{folder}/") for path in self.files):
            self.folders.discard(folder)
        return self.serve(tuple(server), stdin) if folder in self.folders else OK

    def dnsmasq(self, namespace: str, options: Sequence[str]) -> Answer:
        values = dict(option.removeprefix("--").partition("=")[::2] for option in options)
        if values["interface"] not in self.namespaces[namespace]:
            return no(f"dnsmasq: unknown interface {values['interface']}", 2)
        if values["log-facility"] in self.files:  # as where fs.protected_regular is set
            return no(f"dnsmasq: cannot open log {values['log-facility']}: Permission denied", 3)
        self.files[values["log-facility"]] = ""
        self.deaf.discard(namespace)
        self._begin(values["pid-file"], f"--pid-file={values['pid-file']}", ("dnsmasq", *options))
        return OK

    def is_running(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        process = self.processes.get(argv[0])
        return (int(process is None or process[0] != argv[1]), "", "")

    def serves(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        namespace, pid_file, mark = argv
        return (int(bool(self.is_running((pid_file, mark), "")[0]) or namespace in self.deaf), "", "")

    def check_servers(self, argv: tuple[str, ...], stdin: str) -> Answer:
        return OK if self.serves(argv, stdin)[0] == 0 else no(f"{argv[0]}: no dnsmasq serves there")

    def runs_on_its_taps(self, argv: tuple[str, ...], stdin: str) -> Answer:
        pid_file, mark, *taps = argv
        if self.is_running((pid_file, mark), stdin)[0]:
            return no("")
        return (int(any(self.holders.get(tap) != self.processes[pid_file][1] for tap in taps)), "", "")

    def start(self, argv: tuple[str, ...], stdin: str) -> Answer:
        pid_file, mark, secret, cores, *launch = argv
        same_pid_file, messages, log, program, *options = launch[4:]
        if program == "sh":
            program, *options = options[5:]  # behind what chooses the accelerator
        assert (program, same_pid_file) == ("qemu-system-x86_64", pid_file)
        assert options[options.index("-smp") + 1] == cores
        self.stop(("KILL", pid_file, mark), "")
        answer = self._put(secret, stdin)
        if answer[0]:
            return answer
        self.files |= {messages: "", log: ""}
        socket = next(o for o in options if o.startswith("socket,")).split("path=")[1].split(",")[0]
        assert len(socket) <= MAX_SOCKET_PATH
        taps = [option.split("ifname=")[1].split(",")[0] for option in options if option.startswith("tap,")]
        for tap in taps:
            if tap not in self.namespaces[""]:
                return no(f"could not configure /dev/net/tun ({tap}): Operation not permitted")
        assert "-S" in options
        control = options[options.index("-qmp") + 1].removeprefix("unix:").partition(",")[0]
        self.files[control] = ""
        self.states[control], self.links[control] = "prelaunch", {}
        self._begin(pid_file, options[options.index("-name") + 1], (program, *options))
        self.holders |= dict.fromkeys(taps, self._last_pid)
        return (0, f"{pid_file.rpartition('/')[2].removesuffix('.pid')}\n", "")

    def stop(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for process in _in_pairs(argv[1:]):
            if self.is_running(process, "")[0] == 0:
                _, pid = self.processes.pop(process[0])
                self.argvs.pop(pid, None)
                self.holders = {tap: holder for tap, holder in self.holders.items() if holder != pid}
        return OK

    def power_off(self, pid_file: str) -> None:
        """End a VM as its guest does, or as it obeys its power button."""
        self.stop(("TERM", pid_file, self.processes[pid_file][0]), "")
        self.files[f"{pid_file.removesuffix('.pid')}.qemu"] = "qemu_system_shutdown_request reason=6\n"

    def list_ended(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        event, reason, *vms = argv
        off = (
            vm_id
            for vm_id, pid_file, mark, messages in zip(vms[::4], vms[1::4], vms[2::4], vms[3::4], strict=True)
            if self.is_running((pid_file, mark), "")[0] and self.files.get(messages) == f"{event} reason={reason}\n"
        )
        return listed(off)

    def are_off(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return (int(any(self.is_running(process, "")[0] == 0 for process in _in_pairs(argv))), "", "")

    def are_shaped(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        wanted = dict(zip(argv[1::2], argv[2::2], strict=True))
        return (int(any(self.queues.get(tap, "") != queue for tap, queue in wanted.items())), "", "")

    def shape_taps(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        wanted = dict(zip(argv[1::2], argv[2::2], strict=True))
        changed = [tap for tap, queue in wanted.items() if self.queues.get(tap, "") != queue]
        if missing := [tap for tap in wanted if tap not in self.ports]:
            return no(f"no port {missing[0]}")
        self.queues = {tap: queue for tap, queue in (self.queues | wanted).items() if queue}
        return listed(changed)

    def unshape_taps(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for tap in argv[1:]:
            self.queues.pop(tap, None)
        return OK

    def check_netem(self, _argv: tuple[str, ...], _stdin: str) -> Answer:
        return OK if self.has_netem else no("the kernel has no netem, which delay, jitter and loss need")

    def have_nics(self, argv: tuple[str, ...], stdin: str) -> Answer:
        for pid_file, mark, count in zip(argv[::3], argv[1::3], argv[2::3], strict=True):
            if self.is_running((pid_file, mark), stdin)[0] == 0:
                started = self.argvs[self.processes[pid_file][1]]
                if started.count("-netdev") != int(count):
                    return no("")
        return OK

    def stop_vms(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        count = int(argv[1])
        press, pairs = argv[2 : 2 + count], argv[2 + count :]
        running = [process for process in _in_pairs(pairs) if self.is_running(process, "")[0] == 0]
        stubborn = [pid_file for pid_file, _ in running if press == ("true",) or pid_file in self.stubborn]
        for pid_file, _ in running:
            if pid_file not in stubborn:
                self.power_off(pid_file)
        self.stop(("TERM", *pairs), "")
        return listed(pid_file.rpartition("/")[2].removesuffix(".pid") for pid_file in stubborn)

    def has_snapshot(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        tag, *disks = argv
        return (int(not all(tag in self.snapshots.get(disk, ()) for disk in disks)), "", "")

    def lacks_snapshot(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        tag, *disks = argv
        return (int(any(tag in self.snapshots.get(disk, ()) for disk in disks)), "", "")

    def take_snapshot(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        tag, label, pid_file, mark, count, *rest = argv
        if self.is_running((pid_file, mark), "")[0] == 0 and pid_file in self.mute:
            return no("QEMU did not answer in time", 124)
        for disk in rest[int(count) :]:
            self.snapshots.setdefault(disk, {})[tag] = self.files[disk]
        return (0, f"{label} 7\n", "")

    def delete_snapshot(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        tag, _pid_file, _mark, count, *rest = argv
        for disk in rest[int(count) :]:
            self.snapshots.get(disk, {}).pop(tag, None)
        return OK

    def apply_snapshot(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        tag, *disks = argv
        if self.has_snapshot(argv, "")[0]:
            return no(f"{disks[0]} has no snapshot {tag} any more")
        for disk in disks:
            self.files[disk] = self.snapshots[disk][tag]
        return OK

    def set_aside(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for disk in argv:
            if disk in self.files and f"{disk}.old" not in self.files:
                self.files[f"{disk}.old"] = self.files.pop(disk)
                self.snapshots[f"{disk}.old"] = self.snapshots.pop(disk, {})
        return OK

    def restore_disks(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        mark, *disks = argv
        aside = [disk for disk in disks if f"{disk}.old" in self.files]
        if not aside and not (disks[0] in self.files and mark in self.files):
            return no("the old disk is gone, because its reset was almost complete; finish it")
        self.files[mark] = ""
        for disk in aside:
            self.files[disk] = self.files.pop(f"{disk}.old")
            self.snapshots[disk] = self.snapshots.pop(f"{disk}.old", {})
        return OK

    def end_vms(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        for at in range(0, len(argv), 8):
            pid_file, mark, *others = argv[at : at + 8]
            self.stop(("KILL", pid_file, mark), "")
            for path in (pid_file, *others):
                self.files.pop(path, None)
                self.states.pop(path, None)
                self.links.pop(path, None)
        return OK

    def let_run(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        """Carry out dialogs; a VM without a QMP socket is one of an older version."""
        begun = []
        for pid_file, mark, control, _messages, commands in zip(*(argv[place::5] for place in range(5)), strict=True):
            name = pid_file.rpartition("/")[2].removesuffix(".pid")
            if self.is_running((pid_file, mark), "")[0]:
                return no(f"{name} ended at once: no such thing")
            if control not in self.states:
                continue
            begun += [name] if self.states[control] != "running" else []
            for command in map(json.loads, commands.splitlines()):
                if command["execute"] == "set_link":
                    self.links[control][command["arguments"]["name"]] = command["arguments"]["up"]
                elif command["execute"] == "cont":
                    self.states[control] = "running"
        return listed(begun)

    def ask_vms(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        """Set links as they are told to; a VM that does not run fails the command."""
        status = 0
        for pid_file, mark, control, commands in zip(*(argv[place::4] for place in range(4)), strict=True):
            if self.is_running((pid_file, mark), "")[0] or control not in self.states:
                status = 1
                continue
            for command in map(json.loads, commands.splitlines()):
                assert command["execute"] == "set_link"
                self.links[control][command["arguments"]["name"]] = command["arguments"]["up"]
        return (status, "", "a VM does not run" if status else "")

    def await_ports(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        reported = ""
        for pid_file, mark, _port, _messages, label in zip(*(argv[place::5] for place in range(5)), strict=True):
            if self.is_running((pid_file, mark), "")[0]:
                return no(f"{pid_file} ended at once: no such thing")
            reported += f"{label} {self.processes[pid_file][1]}\n"
        return (0, reported, "")

    def _begin(self, pid_file: str, mark: str, argv: tuple[str, ...]) -> None:
        self._last_pid += 1
        self.files[pid_file] = str(self._last_pid)
        self.processes[pid_file] = (mark, self._last_pid)
        self.argvs[self._last_pid] = argv

    def check_free_disks(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        folder, elsewhere, *rest = argv
        marks, disks = rest[: 2 * int(elsewhere)], rest[2 * int(elsewhere) :]
        for mark, worker in _in_pairs(tuple(marks)):
            if self.exists(mark):
                return no(f"{mark.rsplit('/', 2)[0]} there is the folder that {worker} has, too")
        pairs = _in_pairs(tuple(disks))
        own = [mark for _, mark in pairs if self.exists(mark)]
        taken = [folder] if folder and not own and self.exists(folder) else []
        taken += [disk for disk, mark in pairs if self.exists(disk) and mark not in own]
        return no(f"{taken[0]} {TAKEN}") if taken else OK

    def check_devices(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        missing = [word for word in argv if word in self.lacking]
        return no(f"QEMU there lacks what a flavor asks for: {' '.join(missing)}") if missing else OK

    def check_disks(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        pairs = [(disk, mark) for disk, mark in _in_pairs(argv[2:]) if mark and self.exists(disk)]
        foreign = [disk for disk, mark in pairs if not self.exists(mark)]
        found = [disk for disk, _ in _in_pairs(argv[2:]) if self.exists(disk)]
        folders = [folder for disk, _ in _in_pairs(argv[2:]) if self.exists(folder := disk.rpartition("/")[0])]
        return no(f"the disk {foreign[0]} is another VM's") if foreign else listed([*folders, *found])

    def check_seeds(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return listed(path for path in argv if path in self.files)

    def seed_is_written(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        path, digest, pid_file, mark = argv
        if path not in self.files or path in self.open_files:
            return no("")
        runs = self.is_running((pid_file, mark), "")[0] == 0
        return OK if runs or self.files[path] == digest else no("")

    def write_seed(self, argv: tuple[str, ...], stdin: str) -> Answer:
        whole = zlib.decompress(base64.b64decode(stdin), wbits=47)
        self.open_files.discard(argv[0])
        return self._put(argv[0], hashlib.sha256(whole).hexdigest())

    def make_overlay(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        base, overlay, _mib, mark, _most = argv
        if self.exists(overlay):
            return no(f"{overlay} {TAKEN}")
        if f"vm_images/{base.removeprefix('../')}" not in self.files:
            return no(f"qemu-img: {overlay}: Could not open backing file: No such file or directory")
        for stale in [path for path in self.files if path.startswith(f"{overlay.removesuffix('_img.qcow2')}.id-")]:
            del self.files[stale]
        self.files |= {mark: ""} if mark else {}
        self.files[overlay] = "overlay"
        return OK

    def make_disk(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        assert f"{argv[0]}.part" in argv
        self.files[argv[0]] = "disk"
        return OK

    def has_fingerprint(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        return (int(argv[1] not in self.files), "", "")

    def keep_fingerprint(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        if not self.files.get(argv[0]):
            return no(f"{argv[0]} is not a whole qcow2 image")
        self.files[argv[4]] = f"{len(self.files[argv[0]])} 0"
        return OK

    def fine(self, _argv: tuple[str, ...], _stdin: str) -> Answer:
        return OK

    def check_room(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        _folder, own, *words = argv
        if own != self.address:
            return no(f"{own} is no address of this host")
        vms = zip(words[::4], words[1::4], words[3::4], strict=True)
        wanted = [port for pid_file, mark, port in vms if self.is_running((pid_file, mark), "")[0]]
        taken = [port for port in wanted if int(port) in self.foreign_ports]
        if not taken:
            running = [name for name in words[::4] if self.exists(name) and name in self.processes]
            return listed([name.rpartition("/")[2].removesuffix(".pid") for name in running])
        listening = "".join(f"LISTEN 0 128 0.0.0.0:{port} 0.0.0.0:*\n" for port in sorted(self.foreign_ports))
        return (vm_launcher.PORT_TAKEN, f"{' '.join(taken)}\n{listening}", f"VNC ports are taken: {' '.join(taken)}")

    def look_at_vm(self, argv: tuple[str, ...], stdin: str) -> Answer:
        vm_id, pid_file, mark, *_ = argv
        if self.is_running((pid_file, mark), stdin)[0]:
            return OK
        return listed([f"{vm_id} process", *(f"{vm_id} {word}" for word in self.signs.get(vm_id, []))])

    def look_at_address(self, argv: tuple[str, ...], _stdin: str) -> Answer:
        vm_id, _namespace, address, *_ = argv
        seen = [word for word in self.signs.get(vm_id, []) if word != "ssh" or address]
        return listed([f"{vm_id} {word}" for word in seen])

    def measure(self, _argv: tuple[str, ...], _stdin: str) -> Answer:
        amounts = f"memory {self.memory_kib}\navailable 16777216\ndisk 104857600\noverlays 0\n"
        return (0, f"cores 4\n{amounts}clock {CLOCK() + self.skew:.0f}\n", "")


@dataclass
class FakeHosts:
    """Hosts by address, each created at its first use."""

    hosts: dict[str, FakeHost] = field(default_factory=dict)

    def connect(self, address: str) -> FakeHost:
        return self.hosts.setdefault(address, FakeHost(address))

    def state(self) -> dict[str, dict[str, Any]]:
        return {address: host.state() for address, host in sorted(self.hosts.items())}


Program = Callable[[FakeHost, tuple[str, ...], str], Answer]

PROGRAMS: dict[str, Program] = {
    "grep": FakeHost.grep,
    "ip": FakeHost.ip,
    "mkdir": FakeHost.mkdir,
    "nft": FakeHost.nft,
    "ovs-ofctl": FakeHost.ofctl,
    "ovs-vsctl": FakeHost.vsctl,
    "rm": FakeHost.rm,
    "rmdir": FakeHost.rmdir,
    "sysctl": FakeHost.sysctl,
    "test": FakeHost.test,
    "true": FakeHost.fine,
    "timeout": lambda host, argv, stdin: host.program(argv[1 + argv[0].startswith("--") :], stdin),
}


def _beside(program: Program) -> Program:
    """Return the program for each group of words, which starts with its length; all run, also after a failure."""

    def run(host: FakeHost, argv: tuple[str, ...], stdin: str) -> Answer:
        answers, at = [], 0
        while at < len(argv):
            end = at + 1 + int(argv[at])
            answers.append(program(host, argv[at + 1 : end], stdin))
            at = end
        statuses, reported, complaints = zip(*answers, strict=True)
        return (int(any(statuses)), "".join(reported), "".join(complaints))

    return run


SCRIPTS: dict[str, Program] = {
    "list-fences.sh": FakeHost.list_fences,
    "are-shaped.sh": FakeHost.are_shaped,
    "check-shapes.sh": FakeHost.are_shaped,
    "shape-taps.sh": FakeHost.shape_taps,
    "unshape-taps.sh": FakeHost.unshape_taps,
    "check-netem.sh": FakeHost.check_netem,
    "are-off.sh": FakeHost.are_off,
    "list-ended.sh": FakeHost.list_ended,
    "have-nics.sh": FakeHost.have_nics,
    "restore-disks.sh": FakeHost.restore_disks,
    "set-aside.sh": FakeHost.set_aside,
    "has-snapshot.sh": FakeHost.has_snapshot,
    "lacks-snapshot.sh": FakeHost.lacks_snapshot,
    "take-snapshot.sh": FakeHost.take_snapshot,
    "delete-snapshot.sh": FakeHost.delete_snapshot,
    "apply-snapshot.sh": FakeHost.apply_snapshot,
    "check-disk-room.sh": FakeHost.fine,
    "stop-vms.sh": FakeHost.stop_vms,
    "add-namespaces.sh": _beside(FakeHost.add_namespaces),
    "apply-rules.sh": FakeHost.put_up_rules,
    "await-frames.sh": FakeHost.fine,
    "await-ports.sh": FakeHost.await_ports,
    "check-bridge.sh": FakeHost.fine,
    "check-underlay.sh": FakeHost.fine,
    "check-tunnel-flows.sh": FakeHost.check_tunnel_flows,
    "remove-tunnel.sh": FakeHost.remove_tunnel,
    "set-tunnel.sh": FakeHost.set_tunnel,
    "tunnel-is-set.sh": FakeHost.tunnel_is_set,
    "check-connection-room.sh": FakeHost.fine,
    "check-disks.sh": FakeHost.check_disks,
    "check-flows.sh": FakeHost.check_flows,
    "check-free-disks.sh": FakeHost.check_free_disks,
    "check-free-paths.sh": FakeHost.check_free_paths,
    "check-free-ports.sh": FakeHost.check_free_ports,
    "check-matches.sh": FakeHost.fine,
    "check-namespace-names.sh": FakeHost.check_namespace_names,
    "check-neighbour-room.sh": FakeHost.fine,
    "check-no-reservations.sh": FakeHost.check_no_reservations,
    "check-port-names.sh": FakeHost.check_port_names,
    "check-room.sh": FakeHost.check_room,
    "check-run-room.sh": FakeHost.fine,
    "check-server-room.sh": FakeHost.fine,
    "check-servers.sh": _beside(FakeHost.check_servers),
    "check-tags.sh": FakeHost.check_tags,
    "check-tap-names.sh": FakeHost.check_tap_names,
    "check-taps-dropped.sh": FakeHost.check_taps_dropped,
    "check-taps.sh": FakeHost.check_taps,
    "check-programs.sh": FakeHost.fine,
    "check-way-out.sh": FakeHost.fine,
    "filter-has-rules.sh": FakeHost.filter_has_rules,
    "filter-is-gone.sh": FakeHost.filter_is_gone,
    "check-devices.sh": FakeHost.check_devices,
    "find-accelerator.sh": FakeHost.fine,
    "has-fingerprint.sh": FakeHost.has_fingerprint,
    "has-no-nft.sh": lambda host, _argv, _stdin: (int("nft" not in host.lacking), "", ""),
    "is-running.sh": FakeHost.is_running,
    "join-taps.sh": FakeHost.join_taps,
    "keep-fingerprint.sh": FakeHost.keep_fingerprint,
    "ask-vms.sh": FakeHost.ask_vms,
    "let-run.sh": FakeHost.let_run,
    "leave-server.sh": FakeHost.leave,
    "list-images.sh": FakeHost.list_images,
    "look-at-addresses.sh": _beside(FakeHost.look_at_address),
    "look-at-vms.sh": _beside(FakeHost.look_at_vm),
    "make-disk.sh": FakeHost.make_disk,
    "make-overlay.sh": FakeHost.make_overlay,
    "check-seeds.sh": FakeHost.check_seeds,
    "seed-is-written.sh": FakeHost.seed_is_written,
    "write-seed.sh": FakeHost.write_seed,
    "make-taps.sh": FakeHost.make_taps,
    "measure-host.sh": FakeHost.measure,
    "namespaces-are-there.sh": _beside(FakeHost.are_there),
    "ports-are-in-place.sh": _beside(FakeHost.are_in_place),
    "put-ports-in-place.sh": _beside(FakeHost.put_in_place),
    "remove-image.sh": FakeHost.remove_image,
    "remove-log-links.sh": FakeHost.remove_log_links,
    "remove-namespaces.sh": FakeHost.remove_namespaces,
    "remove-ports.sh": FakeHost.remove_ports,
    "raise-taps.sh": FakeHost.raise_taps,
    "remove-taps.sh": FakeHost.remove_taps,
    "reservations-are-written.sh": FakeHost.are_written,
    "rules-are-there.sh": FakeHost.has_rules,
    "runs-on-its-taps.sh": FakeHost.runs_on_its_taps,
    "servers-serve.sh": _beside(FakeHost.serves),
    "set-filter.sh": FakeHost.set_filter,
    "put-back-filter.sh": FakeHost.set_filter,
    "list-filter.sh": FakeHost.list_chain,
    "list-flows.sh": FakeHost.list_flows,
    "put-back-flows.sh": FakeHost.put_back_flows,
    "list-dropped-taps.sh": FakeHost.list_drop,
    "lower-taps.sh": FakeHost.lower_taps,
    "raise-taps-again.sh": FakeHost.raise_taps_again,
    "find-reservations.sh": lambda host, argv, _stdin: listed(path for path in argv if host.files.get(path)),
    "stop-servers.sh": FakeHost.stop_servers,
    "end-vms.sh": FakeHost.end_vms,
    "start-process.sh": FakeHost.start,
    "start-servers.sh": _beside(FakeHost.serve),
    "stop-processes.sh": FakeHost.stop,
    "taps-are-dropped.sh": FakeHost.check_taps_dropped,
    "taps-are-made.sh": FakeHost.taps_are_made,
    "taps-are-up.sh": FakeHost.taps_are_up,
    "write-reservations.sh": _beside(FakeHost.write),
}


def _places(argv: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Return port, address and MAC of each place, from the arguments of the scripts that check them."""
    words = argv[3 : 3 + 3 * int(argv[2])]
    return list(zip(words[::3], words[1::3], words[2::3], strict=True))


def _in_pairs(argv: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(argv[::2], argv[1::2], strict=True))


def _split(argv: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the commands of a transaction, separated by `--`."""
    commands: list[list[str]] = [[]]
    for word in argv:
        if word == "--":
            commands.append([])
        else:
            commands[-1].append(word)
    return [tuple(words) for words in commands]

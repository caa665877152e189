"""The hosts, addresses and cables of the lab, as pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MGMT = "mgmt"
DATA = "data"
MGMT_PORT = "ens3"
DATA_PORT = "ens4"
MGMT_PREFIX = 24
UNDERLAY_MTU = 1700
"""The MTU of the data network of a lab without a trunk: a packet of 1,500 bytes fits in with all that is around it."""

UNDERLAYS = TRUNK, TUNNEL = "trunk", "tunnel"
"""The content of the data network: the VLANs themselves, or IP packets only, so that the product makes a tunnel."""

INTERNET_ADDRESS = "8.8.8.8"
SSH_PORT = 22
SSH_USER = "ubuntu"
SWITCH = "switch"
RELAY = "relay"
MANAGER = "manager"
DATABASE_PORT = 5432
MAX_WORKERS = 200  # worker201 would be 10.0.10.202: free, but no machine could run so large a lab


class Role(Enum):
    """The purpose of a host, which decides its daemons."""

    WORKER = "worker"
    NETWORK = "network"
    INTERNET = "internet"
    MANAGER = "manager"
    DATABASE = "database"


@dataclass(frozen=True)
class LabHost:
    """One host on the management network; `gateway` is the next hop of its default route."""

    name: str
    address: str
    role: Role
    gateway: str | None = None

    @property
    def is_node(self) -> bool:
        """Return whether the product manages the host: then it has sshd, Open vSwitch and a data port."""
        return self.role in (Role.WORKER, Role.NETWORK)

    @property
    def cables(self) -> dict[str, str]:
        """Return the names of the host's ports, each with the bridge at the other end of its cable."""
        return {MGMT_PORT: MGMT, DATA_PORT: DATA} if self.is_node else {MGMT_PORT: MGMT}

    @property
    def data_address(self) -> str:
        """Return the address on a data network without a trunk."""
        return self.address.replace("10.0.10.", "10.0.20.")

    def mac(self, port: str) -> str:
        """Return the MAC of a port, equal after every boot, because other hosts keep it in their ARP tables."""
        return "02:00:00:00:{:02x}:{:02x}".format(list(self.cables).index(port), int(self.address.rpartition(".")[2]))


INTERNET = LabHost("internet", "10.0.10.254", Role.INTERNET)
NETWORK = LabHost("network", "10.0.10.3", Role.NETWORK, gateway=INTERNET.address)
DATABASES = (
    LabHost("database1", "10.0.10.248", Role.DATABASE),
    LabHost("database2", "10.0.10.249", Role.DATABASE),
)
"""The servers of the database that several managers share. The second one begins as the first one's standby."""

MANAGERS = tuple(
    LabHost(f"{MANAGER}{number if number > 1 else ''}", f"10.0.10.{249 + number}", Role.MANAGER)
    for number in range(1, 5)
)


def worker(number: int) -> LabHost:
    """Return worker `number`, counted from 1; after 10.0.10.2 addresses skip the network node at .3."""
    if not 1 <= number <= MAX_WORKERS:
        raise ValueError(f"there are workers 1 to {MAX_WORKERS}, not {number}")
    return LabHost(f"worker{number}", f"10.0.10.{number if number < 3 else number + 1}", Role.WORKER)


def manager(number: int) -> LabHost:
    """Return manager `number`, counted from 1; the first one has no number in its name."""
    if not 1 <= number <= len(MANAGERS):
        raise ValueError(f"there are managers 1 to {len(MANAGERS)}, not {number}")
    return MANAGERS[number - 1]


def hosts(workers: int, managers: int = 1) -> list[LabHost]:
    """Return every host of a lab with these numbers of workers and managers; several managers share databases."""
    some = [*map(worker, range(1, workers + 1)), NETWORK, INTERNET, *map(manager, range(1, managers + 1))]
    return [*some, *DATABASES] if managers > 1 else some


def host(name: str) -> LabHost:
    """Return the host of that name, for any number of workers and managers; raise KeyError when no lab has it."""
    return {known.name: known for known in hosts(MAX_WORKERS, len(MANAGERS))}[name]


def switch_port(name: str, bridge: str) -> str:
    """Return the switch's end of a host's cable, at most 15 characters (IFNAMSIZ)."""
    return f"{name}-{bridge}"

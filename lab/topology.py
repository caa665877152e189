"""The lab's hosts, addresses and cables: pure data, nothing here touches the system."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MGMT = "mgmt"
DATA = "data"
MGMT_PORT = "ens3"
DATA_PORT = "ens4"
MGMT_PREFIX = 24
INTERNET_ADDRESS = "8.8.8.8"
SSH_PORT = 22
SSH_USER = "ubuntu"
SWITCH = "switch"
RELAY = "relay"
MANAGER = "manager"
MAX_WORKERS = 200  # worker201 would be 10.0.10.202: still free, but far beyond any machine that runs a lab


class Role(Enum):
    """What a host is there for, and so which daemons run on it."""

    WORKER = "worker"
    NETWORK = "network"
    INTERNET = "internet"
    MANAGER = "manager"


@dataclass(frozen=True)
class Host:
    """One host on the management network; `gateway` is the address its default route goes through."""

    name: str
    address: str
    role: Role
    gateway: str | None = None

    @property
    def is_node(self) -> bool:
        """Whether the product drives it: it then has sshd, Open vSwitch and a port on the data network."""
        return self.role in (Role.WORKER, Role.NETWORK)

    @property
    def cables(self) -> dict[str, str]:
        """The host's own port names, each with the bridge its cable leads to."""
        return {MGMT_PORT: MGMT, DATA_PORT: DATA} if self.is_node else {MGMT_PORT: MGMT}

    def mac(self, port: str) -> str:
        """The address of one of its ports, the same after every boot: the others still have it in their ARP tables."""
        return "02:00:00:00:{:02x}:{:02x}".format(list(self.cables).index(port), int(self.address.rpartition(".")[2]))


INTERNET = Host("internet", "10.0.10.254", Role.INTERNET)
NETWORK = Host("network", "10.0.10.3", Role.NETWORK, gateway=INTERNET.address)
MANAGER_HOST = Host(MANAGER, "10.0.10.250", Role.MANAGER)


def worker(number: int) -> Host:
    """Worker `number`, counted from 1; 10.0.10.3 is the network node, so from the third on they are one higher."""
    if not 1 <= number <= MAX_WORKERS:
        raise ValueError(f"there are workers 1 to {MAX_WORKERS}, not {number}")
    return Host(f"worker{number}", f"10.0.10.{number if number < 3 else number + 1}", Role.WORKER)


def hosts(workers: int) -> list[Host]:
    """Every host of a lab with so many workers, the manager included."""
    return [*(worker(number) for number in range(1, workers + 1)), NETWORK, INTERNET, MANAGER_HOST]


def host(name: str) -> Host:
    """The host of that name, whatever the number of workers; KeyError when no lab has it."""
    for known in (NETWORK, INTERNET, MANAGER_HOST):
        if known.name == name:
            return known
    number = name.removeprefix("worker")
    if number.isdecimal() and f"worker{int(number)}" == name and 1 <= int(number) <= MAX_WORKERS:
        return worker(int(number))
    raise KeyError(name)


def switch_port(name: str, bridge: str) -> str:
    """The switch's end of a host's cable, at most 15 characters (IFNAMSIZ)."""
    return f"{name}-{bridge}"

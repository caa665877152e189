"""The daemons of each kind of host, as data: the program, the sign that it answers, and the command that follows."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from lab import postgres
from lab.disk import OVS_DATABASE
from lab.topology import (
    DATA_PORT,
    DATABASE_PORT,
    INTERNET_ADDRESS,
    MGMT_PREFIX,
    SSH_PORT,
    TUNNEL,
    LabHost,
    Role,
)

BRIDGE = "br-int"
UNDERLAY_BRIDGE = "br-phys"
OVS_SOCKET = "/run/openvswitch/db.sock"


@dataclass(frozen=True)
class Daemon:
    """A program that stays in the foreground and, where it `restarts`, is started again when it ends.

    `answers` is the TCP address or UNIX socket that accepts connections once it is up; the commands of `then` run after
    that.
    """

    name: str
    argv: tuple[str, ...]
    answers: tuple[str, int] | str | None = None
    then: tuple[tuple[str, ...], ...] = ()
    restarts: bool = True

    def is_answering(self) -> bool:
        """Return whether the daemon accepts a connection now."""
        if self.answers is None:
            return True
        family = socket.AF_UNIX if isinstance(self.answers, str) else socket.AF_INET
        with socket.socket(family) as connection:
            return connection.connect_ex(self.answers) == 0


def renew_data_port(underlay: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that open the data port again.

    ovs-vswitchd keeps a port that is gone, even when a new device has its name. In a single transaction it would see no
    change, so there are two.
    """
    bridge = _bridge_of_data(underlay)
    return (
        ("ovs-vsctl", "--timeout=20", "--if-exists", "del-port", bridge, DATA_PORT),
        ("ovs-vsctl", "--timeout=20", "add-port", bridge, DATA_PORT),
    )


def _bridge_of_data(underlay: str) -> str:
    return UNDERLAY_BRIDGE if underlay == TUNNEL else BRIDGE


def _open_vswitch(host: LabHost, underlay: str) -> list[Daemon]:
    """Return ovsdb-server and ovs-vswitchd with br-int in user space, which needs no kernel module.

    TCP through it stalls unless user-space TSO is on before ovs-vswitchd starts: offloaded checksums are never filled
    in. ens4 has no tag: it is the trunk that carries every VLAN. Without a trunk ens4 is on a bridge of its own, which
    has the host's data address: in user space a tunnel ends at the address of a bridge. A tunnel drops frames whose
    checksum is left to others, so TSO is off then, and TCP of guests stalls.
    """
    tso = "false" if underlay == TUNNEL else "true"
    settings = f"ovs-vsctl --no-wait init -- set Open_vSwitch . other_config:userspace-tso-enable={tso}"
    bridges = dict.fromkeys((BRIDGE, _bridge_of_data(underlay)))
    made = " -- ".join(f"--may-exist add-br {each} -- set Bridge {each} datapath_type=netdev" for each in bridges)
    then = [f"ovs-vsctl --timeout=20 {made} -- --may-exist add-port {_bridge_of_data(underlay)} {DATA_PORT}"]
    if underlay == TUNNEL:
        then.append(f"ip address replace {host.data_address}/{MGMT_PREFIX} dev {UNDERLAY_BRIDGE}")
        then.append(f"ip link set {UNDERLAY_BRIDGE} up")
    quiet = ("--pidfile", "--log-file", "-vconsole:off")
    database = ("ovsdb-server", OVS_DATABASE, f"--remote=punix:{OVS_SOCKET}", *quiet)
    switch = ("ovs-vswitchd", f"unix:{OVS_SOCKET}", *quiet)
    return [
        Daemon("ovsdb-server", database, answers=OVS_SOCKET, then=(tuple(settings.split()),)),
        Daemon("ovs-vswitchd", switch, then=tuple(tuple(command.split()) for command in then)),
    ]


def _internet() -> list[Daemon]:
    """Return a resolver that answers every name with its own address, and a web page."""
    dnsmasq = (
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file --no-resolv --no-hosts --user=root "
        f"--bind-interfaces --listen-address={INTERNET_ADDRESS} --address=/#/{INTERNET_ADDRESS}"
    )
    web = "busybox httpd -f -p 80 -h /srv"
    return [
        Daemon("dnsmasq", tuple(dnsmasq.split()), answers=(INTERNET_ADDRESS, 53)),
        Daemon("httpd", tuple(web.split()), answers=(INTERNET_ADDRESS, 80)),
    ]


def of(host: LabHost, underlay: str) -> list[Daemon]:
    """Return the daemons of this host, in the order in which they start."""
    if host.role is Role.INTERNET:
        return _internet()
    if host.role is Role.DATABASE:
        # A server that was stopped stays so: its standby may write by now.
        return [Daemon("postgres", postgres.argv(host), answers=(host.address, DATABASE_PORT), restarts=False)]
    # sshd starts itself again for every connection, which needs the full path.
    sshd = Daemon("sshd", ("/usr/sbin/sshd", "-D", "-e"), answers=(host.address, SSH_PORT))
    return [*_open_vswitch(host, underlay), sshd]

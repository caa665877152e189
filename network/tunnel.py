"""The tunnel between the hosts, where no trunk carries the VLANs. Pure: returns steps.

br-int keeps its tags and its flow NORMAL. A patch leads to a bridge of ours, which has a port to each other host. Its
flows learn where a MAC is, by VLAN: NORMAL would send frames from one host to the next. The first deployment that needs
the tunnel makes it; it belongs to the realm, so no slice removes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.names import flow_cookie
from core.underlay import LEAST_MTU, Tunnel
from network import ovs
from remote.plan import Command, Step
from shell.scripts import load

TITLE = "tunnel"

MOST_LEARNED = 8192
"""The most MACs that the bridge knows, of all VLANs together; frames to others are sent to all hosts."""

_LEARN, _SEND, LEARNED, _FLOOD = 1, 2, 3, 4
"""The tables of the flows: frames from other hosts, frames to them, MACs that were learned, and all ports."""

_FORGET_SECONDS = 300
_SEVERAL = "01:00:00:00:00:00/01:00:00:00:00:00"
"""A match for MACs of groups: broadcast and multicast."""

_CHECK_UNDERLAY = load("tunnel/check-underlay")
_SET_TUNNEL = load("tunnel/set-tunnel")
_TUNNEL_IS_SET = load("tunnel/tunnel-is-set")
_CHECK_TUNNEL_FLOWS = load("tunnel/check-tunnel-flows")
_REMOVE_TUNNEL = load("tunnel/remove-tunnel")


def check_underlay(tunnel: Tunnel, host: str) -> Step:
    """Return the check that the host can have its end: address, MTU, key, names, and no other way to other hosts."""
    words = (ovs.OWNER, str(tunnel.key), str(LEAST_MTU), tunnel.addresses[host], tunnel.bridge, tunnel.inner)
    names = ovs.check_port_names((tunnel.patch, tunnel.peer, *tunnel.ends(host)))
    return Step(host, TITLE, (Command(_CHECK_UNDERLAY.argv(*words)), Command(names.argv)))


def make(tunnel: Tunnel, host: str) -> Step:
    """Return the step that makes the host's end, or repairs it. It has no undo, because other slices may use it."""
    ports = Command(_SET_TUNNEL.argv(*_words(tunnel, host)), unless=_TUNNEL_IS_SET.argv(*_words(tunnel, host)))
    return Step(host, TITLE, (ports, _set_flows(tunnel, host)), lock=True, objects=(tunnel.bridge,))


def check(tunnel: Tunnel, host: str) -> Step:
    """Return the read-only check that the host's end is as it was made."""
    return Step(host, TITLE, (Command(_TUNNEL_IS_SET.argv(*_words(tunnel, host))), Command(_check_flows(tunnel, host))))


def marked_flows(tunnel: Tunnel, host: str) -> list[str]:
    """Return the flows of the tunnel's bridge, each with our cookie."""
    return [f"cookie={cookie(tunnel)},{flow}" for flow in _flows(tunnel, host)]


def cookie(tunnel: Tunnel) -> str:
    """Return the cookie of the flows; learned ones have none."""
    return flow_cookie(tunnel.key)


def remove(key: str) -> Command:
    """Remove the tunnel with this key: all bridges and ports of it."""
    return Command(_REMOVE_TUNNEL.argv(ovs.OWNER, key))


def remove_port(rest: Tunnel, host: str, port: str) -> tuple[Command, Command]:
    """Remove a port of the tunnel's bridge. The flows become those of the `rest` of the tunnel."""
    gone = Command(("ovs-vsctl", "--timeout=20", "--if-exists", "del-port", rest.bridge, port))
    return gone, _set_flows(rest, host)


def _flows(tunnel: Tunnel, host: str) -> Iterator[str]:
    """Yield the flows (ovs-actions(7), learn). No frame goes from one port of the tunnel to another.

    A frame from another host goes to br-int, and its source is learned. A frame from br-int goes to the one host that
    has its target, else to all.
    """
    ports = tunnel.ends(host)
    learn = (
        f"table={LEARNED},idle_timeout={_FORGET_SECONDS},priority=10,NXM_OF_VLAN_TCI[0..11],"
        "NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]"
    )
    yield f"priority=10,in_port={tunnel.peer},actions=resubmit(,{_SEND})"
    for port in ports:
        yield f"priority=10,in_port={port},actions=resubmit(,{_LEARN})"
    yield f"table={_LEARN},priority=0,actions=learn({learn}),output:{tunnel.peer}"
    yield f"table={_SEND},priority=10,dl_dst={_SEVERAL},actions=resubmit(,{_FLOOD})"
    yield f"table={_SEND},priority=0,actions=resubmit(,{LEARNED})"
    yield f"table={LEARNED},priority=0,actions=resubmit(,{_FLOOD})"
    yield f"table={_FLOOD},priority=0,actions={','.join(f'output:{port}' for port in ports) or 'drop'}"


def _words(tunnel: Tunnel, host: str) -> tuple[str, ...]:
    """Return the words by which scripts know the host's end."""
    names = (tunnel.bridge, tunnel.inner, tunnel.patch, tunnel.peer, tunnel.addresses[host])
    ends = (word for end in tunnel.ends(host).items() for word in end)
    return (ovs.OWNER, str(tunnel.key), str(LEARNED), str(MOST_LEARNED), *names, *ends)


def _set_flows(tunnel: Tunnel, host: str) -> Command:
    text = "".join(f"{flow}\n" for flow in marked_flows(tunnel, host))
    replace = ("ovs-ofctl", "--timeout=20", "--bundle", "replace-flows", tunnel.bridge, "-")
    return Command(replace, text, unless=_check_flows(tunnel, host))


def _check_flows(tunnel: Tunnel, host: str) -> tuple[str, ...]:
    return _CHECK_TUNNEL_FLOWS.argv(tunnel.bridge, str(LEARNED), *marked_flows(tunnel, host))

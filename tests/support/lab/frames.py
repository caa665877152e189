"""Ethernet frames for forbidden targets, each with a mark in its payload that shows its arrival."""

from __future__ import annotations

import ipaddress
import struct

NO_ADDRESS = "0.0.0.0"  # noqa: S104 - not a listening address: the source of a client without an address
BROADCAST = "ff:ff:ff:ff:ff:ff"
ALL_NODES = "33:33:00:00:00:01"
LOCAL_EXPERIMENT = 0x88B5
Q_TAG, S_TAG = 0x8100, 0x88A8
DISCOVER, REQUEST, DECLINE, RELEASE, INFORM = 1, 3, 4, 7, 8


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ip(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed


def ethernet(source: str, target: str, kind: int, payload: bytes, *tags: tuple[int, int]) -> bytes:
    """Return a frame; `tags` are (ethertype, VLAN id), the outer one first."""
    tagged = b"".join(struct.pack("!HH", *tag) for tag in tags)
    return (mac(target) + mac(source) + tagged + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def arp(
    source: str, target: str, operation: int, sender: tuple[str, str], wanted: tuple[str, str], mark: bytes
) -> bytes:
    """Return an ARP packet (RFC 826); the padding carries the mark."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    body = mac(sender[0]) + ip(sender[1]) + mac(wanted[0]) + ip(wanted[1])
    return ethernet(source, target, 0x0806, head + body + mark)


def _checksum(packet: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, ip(source), ip(target))
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + payload


def first_fragment(source: str, target: str, number: int) -> bytes:
    """Return the first part of an IPv4 packet without a second one (RFC 791, 3.1, More Fragments)."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + 64, number, 0x2000, 64, 17, 0, ip(source), ip(target))
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + bytes(64)


def echo(source: str, target: str, mark: bytes) -> bytes:
    """Return a ping, as an IPv4 packet."""
    packet = struct.pack("!BBHHH", 8, 0, 0, 0x4D, 1) + mark.ljust(16, b"\0")
    return ipv4(source, target, 1, packet[:2] + struct.pack("!H", _checksum(packet)) + packet[4:])


def udp(source: str, target: str, ports: tuple[int, int], payload: bytes) -> bytes:
    """Return a UDP packet without a checksum, which IPv4 allows."""
    return ipv4(source, target, 17, struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload)


def udp6(source_mac: str, target_mac: str, source: str, target: str, ports: tuple[int, int], payload: bytes) -> bytes:
    """Return UDP over IPv6, as an Ethernet frame; the checksum is mandatory (RFC 8200, 8.1)."""
    payload += bytes(len(payload) % 2)
    ends = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(target).packed
    length = 8 + len(payload)
    body = struct.pack("!HHHH", *ports, length, 0) + payload
    check = _checksum(ends + struct.pack("!II", length, 17) + body)
    body = body[:6] + struct.pack("!H", check) + body[8:]
    return ethernet(source_mac, target_mac, 0x86DD, struct.pack("!IHBB", 6 << 28, length, 17, 255) + ends + body)


def router_advertisement(source: str, mark: bytes) -> bytes:
    """Return a router advertisement to all nodes of the link (RFC 4861, 4.2), as an Ethernet frame."""
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\1\1" + mac(source) + b"\xfe\2" + mark.ljust(14)
    fe80, everybody = ipaddress.IPv6Address("fe80::bad").packed, ipaddress.IPv6Address("ff02::1").packed
    pseudo = fe80 + everybody + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + fe80 + everybody
    return ethernet(source, ALL_NODES, 0x86DD, head + body)


def dhcp(
    kind: int, client: str, mark: bytes, *, flags: int = 0, ciaddr: str = NO_ADDRESS, giaddr: str = NO_ADDRESS,
    wanted: str = "", server: str = "", reply: bool = False,
) -> bytes:  # fmt: skip
    """Return a DHCP message (RFC 2131, 2) with the mark as client id, which servers return."""
    head = struct.pack(
        "!BBBBIHH4s4s4s4s16s192x4s",
        *(2 if reply else 1, 1, 6, 0, 0x41545431, 0, flags),
        *(ip(ciaddr), ip(wanted or NO_ADDRESS) if reply else b"", b"", ip(giaddr), mac(client), b"\x63\x82\x53\x63"),
    )
    options = bytes((53, 1, kind, 61, len(mark))) + mark
    options += bytes((50, 4)) + ip(wanted) if wanted and not reply else b""
    options += bytes((54, 4)) + ip(server) if server else b""
    return head + options + b"\xff"

"""Tools for a guest that sends any frame and receives every frame: perl, downloaded into the guest.

The guest itself has no such tool. The marks of sent frames begin with `ATTK` or `CTRL`, and four digits follow.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab import Lab
from tests.support.lab.visitor import Guest, wait_until

# socket(2), packet(7): family, protocol in network order, interface, then kind of hardware, kind of packet, address.
_COMMON = r"""$| = 1;
my $nic = shift;
open(my $file, "<", "/sys/class/net/$nic/ifindex") or die; my $index = <$file>;
socket(my $wire, 17, 3, 0x0300) or die "socket: $!";
bind($wire, pack("SniSCCa8", 17, 3, $index, 0, 0, 0, "")) or die "bind: $!";
"""
_SEND = (
    _COMMON
    + r"""open(my $frames, "<", shift) or die; my @frames = map { chomp; pack("H*", $_) } <$frames>;
my $sent = 0;
for my $frame (@frames) {
    defined(send($wire, $frame, 0)) or die "send: $!";
    select(undef, undef, undef, 0.02) unless ++$sent % 20;  # a TAP holds 1,000 frames for a guest that gets no CPU
}
print "sent ", scalar(@frames), "\n";
"""
)
_LISTEN = (
    _COMMON
    + r"""setsockopt($wire, 1, 33, 1 << 23) or die "setsockopt: $!";  # SO_RCVBUFFORCE: what waits while perl does
open(my $heard, ">>", shift) or die; select($heard); $| = 1; my %known;
while (defined(my $from = recv($wire, my $frame, 65535, 0))) {
    next if unpack("x10 C", $from) == 4;  # PACKET_OUTGOING
    while ($frame =~ /((?:ATTK|CTRL)\d{4})/g) { print "$1\n" unless $known{$1}++; }
}
"""
)
_FLOOD = (
    _COMMON
    + r"""my ($count, $mark) = @ARGV;
for my $number (1 .. $count) {
    my $source = pack("CCN", 0x06, int(rand(256)), int(rand(2 ** 32)));
    my $target = pack("CCN", 0x06, int(rand(256)), int(rand(2 ** 32)));
    send($wire, $target . $source . pack("n", 0x88b5) . $mark . "\0" x 40, 0);
    select(undef, undef, undef, 0.05) unless $number % 20;  # it is the table that is flooded, not the switch's CPU
}
print "sent $count\n";
"""
)
# All at once, because a target without an answer takes its time.
_KNOCK = """while read -r host port; do
    (nc -w 2 "$host" "$port" </dev/null >/dev/null 2>&1 && echo "$host:$port") &
done
wait
"""
_PING = """while read -r address; do
    (ping -c 2 -W 2 "$address" >/dev/null 2>&1 && echo "$address") &
done
wait
"""
_SCRIPTS = {"send.pl": _SEND, "listen.pl": _LISTEN, "flood.pl": _FLOOD, "knock": _KNOCK, "ping": _PING}
_RECEIVED = "/tmp/heard"


def offer_tools(lab: Lab, files: Mapping[str, Iterable[bytes | str]]) -> None:
    """Put perl, the scripts and named files of frames and other lines onto the internet's web page."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in _perl():
            _add(archive, path.lstrip("/"), Path(path).read_bytes())
        for name, script in _SCRIPTS.items():
            _add(archive, f"intruder/{name}", script.encode())
        for name, made in files.items():
            lines = (line.hex() if isinstance(line, bytes) else line for line in made)
            _add(archive, f"intruder/{name}", "".join(f"{line}\n" for line in lines).encode())
    into = lab.popen_in("internet", ["sh", "-c", "cat >/srv/tools.tgz"], stdin=subprocess.PIPE)
    into.communicate(packed.getvalue(), timeout=30)


def equip(guest: Guest) -> None:
    """Download the tools into a guest with internet, and begin to listen on all its interfaces."""
    fetch = "wget -q -O /tmp/tools.tgz http://8.8.8.8/tools.tgz && tar -xzf /tmp/tools.tgz -C / && rm /tmp/tools.tgz"
    assert guest.succeeds(fetch, 120)
    guest.run(f": >{_RECEIVED}")
    for nic in guest.vm.macs:
        guest.run(f"ip link set {nic} promisc on; perl /intruder/listen.pl {nic} {_RECEIVED} >/tmp/{nic}.err 2>&1 &")
    wait_until(lambda: guest.run("cat /proc/net/packet").count("\n") > len(guest.vm.macs), "the listeners", 30)


def send(guest: Guest, nic: str, name: str) -> int:
    """Send the frames of that file; return their number."""
    said, status = guest.console.run(f"perl /intruder/send.pl {nic} /intruder/{name}", 120)
    assert status == 0, said
    return int(re.findall(r"sent (\d+)", said)[0])


def received(guest: Guest) -> set[str]:
    """Return the marks that the guest has received since it was equipped."""
    return set(re.findall(r"[A-Z]{4}\d{4}", guest.run(f"cat {_RECEIVED}")))


def open_doors(guest: Guest, name: str) -> list[str]:
    """Return the file's lines, address and TCP port, that accept a connection, as `address:port`."""
    return sorted(guest.run(f"sh /intruder/knock </intruder/{name}", 120).split())


def answering(guest: Guest, name: str) -> list[str]:
    """Return the file's addresses that answer to ping."""
    return sorted(guest.run(f"sh /intruder/ping </intruder/{name}", 120).split())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    archive.addfile(entry, io.BytesIO(content))


def _perl() -> list[str]:
    """Return perl, which every Debian has, and its libraries."""
    linked = subprocess.run(["ldd", "/usr/bin/perl"], capture_output=True, text=True, check=True).stdout
    return ["/usr/bin/perl", *re.findall(r"(/\S+) \(0x", linked)]

"""The answers of a worker about packets, and the ends of a capture, on channels that say them."""

from __future__ import annotations

import shlex

import pytest

from core.captures import MOST_BYTES, CaptureRequest
from core.errors import InvalidAnswer
from remote.capture import CaptureAnswer, CaptureEnd, CaptureStream, CaptureVisit, NotCaptured, capture
from tests.support.desk import FakeChannel

HOST = "10.0.10.1"
STATISTICS = b"tcpdump: listening on tap_1001_eth1\n4 packets captured\n%d packets dropped by kernel\n"


def visit_of(request: CaptureRequest) -> CaptureVisit:
    return CaptureVisit("owner", "tap_1001_eth1", request)


def begun(output: bytes, messages: bytes = b"", request: CaptureRequest | None = None) -> CaptureStream:
    """Return a capture that has written `output`, and then `messages`, in which {} is its name."""
    visit = visit_of(request or CaptureRequest("eth1"))
    name = visit.name.encode()
    channel = FakeChannel(b"Welcome\n\n" + name + b" ready\n" + output, messages.replace(b"{}", name))
    return capture(channel, visit, HOST)


def refused(answer: bytes) -> NotCaptured:
    visit = visit_of(CaptureRequest("eth1"))
    channel = FakeChannel(f"\n{visit.name} ".encode() + answer + b"\n")
    with pytest.raises(NotCaptured) as refusal:
        capture(channel, visit, HOST)
    assert channel.closed
    return refusal.value


def test_words_of_the_script_are_quoted() -> None:
    visit = visit_of(CaptureRequest("eth1", "a'; id; $(id)", 5, 9, as_text=True))
    assert visit.argv == ("sudo", "-n", "sh", "-s")
    words = shlex.split(visit.script.partition("\n")[0])
    name = visit.name
    assert words == ["set", "--", name, "owner", "tap_1001_eth1", "text", "5", "9", "256", "5", "a'; id; $(id)"]


def test_each_answer_is_known() -> None:
    for answer in set(CaptureAnswer) - {CaptureAnswer.READY}:
        assert refused(answer.value.encode()).answer is answer


def test_the_words_of_tcpdump_are_one_line_without_control_characters() -> None:
    assert refused(b"filter tcpdump: syntax error").words == "syntax error"
    assert refused(b"filter \x1b[2Jsyntax \xff").words.isprintable()
    assert len(refused(b"filter " + b"a" * 3000).words) <= 300


def test_an_answer_that_makes_no_sense_is_named_as_one() -> None:
    visit = visit_of(CaptureRequest("eth1"))
    channel = FakeChannel(f"\n{visit.name} perhaps\n".encode())
    with pytest.raises(InvalidAnswer, match="its answer makes no sense"):
        capture(channel, visit, HOST)
    assert channel.closed


@pytest.mark.parametrize(
    ("messages", "end"),
    [
        (b"\n{} 0\n", (CaptureEnd.COUNT, "")),
        (b"\n{} 124\n", (CaptureEnd.TIME, "")),
        (b"\n{} 137\n", (CaptureEnd.TIME, "")),
        (b"tcpdump: pcap_loop: gone\x1b\n\n{} 1\n", (CaptureEnd.FAILED, "pcap_loop: gone")),
        (b"\n{} 1\n", (CaptureEnd.FAILED, "tcpdump ended")),
        (b"", (CaptureEnd.LOST, "")),
        (b"\nother 0\n", (CaptureEnd.LOST, "")),
    ],
)
def test_an_end_is_told_by_the_worker(messages: bytes, end: tuple[CaptureEnd, str]) -> None:
    stream = begun(b"packets", STATISTICS % 0 + messages)
    assert stream.recv(100) == b"packets"
    assert stream.end() == end
    assert stream.is_lost is (end[0] is CaptureEnd.LOST)
    assert stream.dropped == 0


def test_packets_without_room_are_counted() -> None:
    assert begun(b"", STATISTICS % 17 + b"\n{} 0\n").dropped == 17


def test_a_worker_that_never_ends_is_cut_off() -> None:
    stream = begun(bytes(MOST_BYTES + 1000))
    received = 0
    while piece := stream.recv(1 << 20):
        received += len(piece)
    assert received == MOST_BYTES
    assert stream.end() == (CaptureEnd.FULL, "")
    assert not stream.is_lost


def test_the_log_names_interface_and_filter() -> None:
    assert begun(b"").note == "ok: eth1"
    assert begun(b"", request=CaptureRequest("eth2", "icmp")).note == "ok: eth2, icmp"

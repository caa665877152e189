"""A guest's port, joined by the real script and the real socat with servers on this machine, as guests are."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from core.errors import HostUnreachable, InvalidAnswer
from menu.pipe import Pipe, PipeEnd
from remote import joined
from remote.port import NotConnected, PortAnswer, PortStream, PortVisit, join
from tests.support.desk import FakeChannel
from tests.support.local_channel import LocalChannel
from tests.support.paths import PROGRAMS

HOST = "10.0.10.3"
BINARY = bytes(range(256)) * 4096


class PortNode:
    """The network node, and the guests' servers that its connections reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.channels: list[LocalChannel] = []
        self.servers: list[socket.socket] = []

    def serve(self, answer: Callable[[socket.socket], None]) -> int:
        """Serve connections by `answer`, one after the other; return the port."""
        server = socket.create_server(("127.0.0.1", 0))
        self.servers.append(server)

        def run() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        answer(client)

        threading.Thread(target=run, daemon=True).start()
        return int(server.getsockname()[1])

    def connect(self, port: int, *, idle: int = 60, check: float = 15.0, namespace: str = "") -> PortStream:
        visit = PortVisit(namespace, "127.0.0.1", port, connect_seconds=1, idle_seconds=idle, check_seconds=check)
        path = f"{PROGRAMS}:{os.environ['PATH']}"
        channel = LocalChannel(visit.argv[2:], visit.script, self.folder, {"PATH": path})
        self.channels.append(channel)
        return join(channel, visit, HOST)

    def processes(self) -> list[str]:
        """Return the command lines of what the connections have left running."""
        found = []
        groups = {channel.process.pid for channel in self.channels}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.getpgid(int(entry.name)) in groups:
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
        return [line for line in found if line and not line.startswith("sleep")]

    def close(self) -> None:
        for channel in self.channels:
            with suppress(ProcessLookupError):
                os.killpg(channel.process.pid, signal.SIGKILL)
            channel.process.wait()
            if not channel.closed:
                channel.close()
        for server in self.servers:
            server.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[PortNode]:
    node = PortNode(tmp_path)
    yield node
    node.close()


class UserEnds:
    """The user's ends of the two standard streams."""

    def __init__(self) -> None:
        self.source, self.typing = os.pipe()
        self.reading, self.target = os.pipe()
        self.result: list[PipeEnd] = []
        self.seen = b""

    def start(self, stream: PortStream, idle: float = 60.0) -> threading.Thread:
        """Carry bytes in a thread of its own."""

        def run() -> None:
            self.result.append(Pipe(stream, self.source, self.target, idle).run())
            os.close(self.target)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def read_all(self) -> bytes:
        while piece := os.read(self.reading, 65_536):
            self.seen += piece
        return self.seen

    def type(self, text: bytes) -> None:
        while text:
            text = text[os.write(self.typing, text) :]

    def type_all(self, text: bytes) -> None:
        """Type a text and end the input."""
        self.type(text)
        self.end_input()

    def end_input(self) -> None:
        os.close(self.typing)


@pytest.fixture
def ends() -> UserEnds:
    return UserEnds()


def all_of(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(65_536):
        received += piece
    return received


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_all_bytes_go_both_ways_and_the_end_of_input_reaches_the_guest(node: PortNode, ends: UserEnds) -> None:
    received: list[bytes] = []

    def answer(client: socket.socket) -> None:
        received.append(all_of(client))
        time.sleep(0.7)  # longer than socat waits by itself
        client.sendall(BINARY[::-1])

    thread = ends.start(node.connect(node.serve(answer)))
    threading.Thread(target=ends.type_all, args=(BINARY,), daemon=True).start()
    assert ends.read_all() == BINARY[::-1]
    thread.join(5)
    assert (received, ends.result) == ([BINARY], [PipeEnd.GUEST])
    wait_for(lambda: not node.processes())


def test_the_guests_end_is_the_end_although_input_is_open(node: PortNode, ends: UserEnds) -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(BINARY)

    began = time.monotonic()
    ends.start(node.connect(node.serve(answer)))
    assert ends.read_all() == BINARY
    assert time.monotonic() - began < 5
    assert ends.result == [PipeEnd.GUEST]
    wait_for(lambda: not node.processes())


def test_a_greeting_comes_first_and_a_dialogue_follows(node: PortNode, ends: UserEnds) -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(b"SSH-2.0-guest\r\n")
        while line := client.recv(100):
            client.sendall(line.upper())

    thread = ends.start(node.connect(node.serve(answer)))
    assert os.read(ends.reading, 100) == b"SSH-2.0-guest\r\n"
    for word in (b"one", b"two"):
        ends.type(word)
        assert os.read(ends.reading, 100) == word.upper()
    ends.end_input()
    thread.join(5)
    assert ends.result == [PipeEnd.GUEST]


def test_a_side_that_does_not_read_stops_the_other(node: PortNode, ends: UserEnds) -> None:
    sent = [0]

    def answer(client: socket.socket) -> None:
        client.settimeout(1.0)
        with suppress(TimeoutError):
            while True:
                sent[0] += client.send(bytes(65_536))

    ends.start(node.connect(node.serve(answer)))
    deadline = time.monotonic() + 10
    before = -1
    while sent[0] != before and time.monotonic() < deadline:
        before = sent[0]
        time.sleep(0.8)
    assert sent[0] == before
    assert sent[0] < 64 << 20  # the buffers of the kernel, here and there


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_reader_that_is_gone_ends_it(node: PortNode, ends: UserEnds) -> None:
    stream = node.connect(node.serve(lambda client: (client.recv(1), None)[1]), check=0.2)
    thread = ends.start(stream)
    os.close(ends.reading)
    thread.join(5)
    assert ends.result == [PipeEnd.USER]
    stream.close()
    wait_for(lambda: not node.processes())


def test_without_a_byte_it_ends(node: PortNode, ends: UserEnds) -> None:
    thread = ends.start(node.connect(node.serve(lambda client: (client.recv(1), None)[1])), idle=0.1)
    thread.join(5)
    assert ends.result == [PipeEnd.IDLE]


def test_the_network_node_ends_it_too_without_a_byte(node: PortNode, ends: UserEnds) -> None:
    stream = node.connect(node.serve(lambda client: (client.recv(1), None)[1]), idle=1)
    thread = ends.start(stream)
    thread.join(10)
    assert ends.result == [PipeEnd.GUEST]
    wait_for(lambda: not node.processes())


def test_a_lost_manager_leaves_nothing_behind(node: PortNode) -> None:
    stream = node.connect(node.serve(lambda client: (client.recv(1), client.recv(1), None)[2]), check=0.2)
    assert any("socat" in line for line in node.processes())
    stream.close()
    wait_for(lambda: not node.processes())


def test_a_program_that_was_killed_is_a_loss(node: PortNode, ends: UserEnds) -> None:
    thread = ends.start(node.connect(node.serve(lambda client: (client.recv(1), None)[1])))
    os.killpg(node.channels[0].process.pid, signal.SIGKILL)
    thread.join(5)
    assert ends.result == [PipeEnd.LOST]


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(node: PortNode, port: int, namespace: str = "") -> PortAnswer:
    began = time.monotonic()
    with pytest.raises(NotConnected) as failure:
        node.connect(port, namespace=namespace)
    assert time.monotonic() - began < 5
    assert node.channels[-1].closed
    return failure.value.answer


def test_a_port_where_nothing_listens_is_closed(node: PortNode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert refusal(node, port) is PortAnswer.CLOSED


def test_a_guest_that_does_not_answer_is_silent(node: PortNode) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]  # the kernel answers no more than these
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        assert refusal(node, port) is PortAnswer.SILENT
        for client in waiting:
            client.close()


def test_a_router_that_is_gone_is_named(node: PortNode) -> None:
    assert refusal(node, 22, namespace="ns-gw-slice424242") is PortAnswer.NO_NAMESPACE


def test_words_of_the_script_are_quoted() -> None:
    visit = PortVisit("a b'; id", "1.2.3.4", 22, ("INPUT", "$(id)"))
    assert visit.argv == ("sudo", "-n", "sh", "-s")
    first = visit.script.partition("\n")[0]
    assert first == f"set -- {visit.name} 'a b'\"'\"'; id' 1.2.3.4 22 5 1800 15 INPUT '$(id)'"


def joined_with(answer: bytes, messages: bytes = b"", host: str = HOST) -> PortStream:
    visit = PortVisit("", "10.60.7.101", 22)
    words = b"Welcome\n" + f"\n{visit.name} ".encode() + answer
    return join(FakeChannel(words, messages), visit, host)


@pytest.mark.parametrize("answer", [PortAnswer.NO_SOCAT, PortAnswer.NO_RULE, PortAnswer.NO_NAMESPACE])
def test_what_the_network_node_lacks_is_named(answer: PortAnswer) -> None:
    with pytest.raises(NotConnected) as failure:
        joined_with(f"{answer.value}\n".encode())
    assert failure.value.answer is answer


def test_an_answer_that_makes_no_sense_is_named_as_one() -> None:
    with pytest.raises(InvalidAnswer, match="its answer makes no sense"):
        joined_with(b"perhaps\n")
    with pytest.raises(InvalidAnswer, match=r"the connection could not be opened: sudo: a password is required$"):
        join(FakeChannel(b"", b"sudo: a password is required\n"), PortVisit("", "10.60.7.101", 22), HOST)


def test_a_node_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "JOIN_SECONDS", 0.2)

    class SilentChannel(FakeChannel):
        def recv(self, nbytes: int, /) -> bytes:  # noqa: ARG002 - as the channel has it
            raise TimeoutError

    with pytest.raises(HostUnreachable, match="did not open the connection within"):
        join(SilentChannel(b""), PortVisit("", "10.60.7.101", 22), HOST)


def test_output_is_a_connection_whatever_socat_says() -> None:
    stream = joined_with(b"ready\nSSH-2.0-guest\r\n", secrets.token_bytes(100))
    assert stream.recv(100) == b"SSH-2.0-guest\r\n"

"""Generated answers of hosts: any answer is parsed, or refused by its name, in bounded time and memory."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from core.errors import LONGEST_WORDS, BadAnswer
from core.inventory import Inventory
from deployment import DeploymentAPI
from inspection import findings
from inspection.findings import Comparison
from inspection.isolation.proof import Proof
from inspection.orphans import Owners, orphans
from inspection.parse import LONGEST_ANSWER, parse_answers
from models import Slice
from remote.batch import Batch
from remote.plan import Command, Step, Upload
from remote.transcript import Outcome, Transcript, UploadWanted
from tests.support import garbage
from tests.support.paths import DATA
from tests.support.scale import LONG, scaled
from vm_launcher import PORT_TAKEN, VMLauncher

SEED = random.SystemRandom().getrandbits(32) if LONG else 14
SHARDS = 5
WORKER, NETWORK = "10.0.10.1", "10.0.10.3"
RECORDED: dict[str, Any] = json.loads((DATA / "answers.json").read_text())
"""Answers of a lab's worker and network node: to a thorough collection with a running ring, and to discovery."""

NONCE = "0123456789abcdef01234567"
UNTRUE = (
    *("-1", "0", "4096", "99999999", "9" * 30, "9" * 5000, "1e999", "NaN", "\xb2", "\u0661", "0x" + "f" * 40, "null"),
    *(
        "true",
        "[]",
        "{}",
        '""',
        "\x1b[2J",
        "\x1b]0;x\x07",
        "\x00",
        "\u202e",
        "%" * 300,
        "../../../etc/passwd",
        "--help",
    ),
    *(
        "$(reboot)",
        "'",
        '"',
        "\n\n",
        "in ",
        "namespace ",
        "slice-",
        "cookie=",
        "priority=",
        "actions=",
        "-A INPUT ",
        ":67",
    ),
)
pytestmark = pytest.mark.torture


def mutated(text: str, chance: random.Random) -> str:
    """Return an answer with parts replaced by impossible numbers and words, or by any bytes."""
    for _ in range(chance.choice([1, 1, 2, 5])):
        words = [found.span() for found in re.finditer(r"[\w.-]+|[^\w.-]", text[:20_000])]
        start, end = chance.choice(words) if words else (0, 0)
        match chance.randint(0, 6):
            case 0 | 1:
                text = text[:start] + chance.choice(UNTRUE) + text[end:]
            case 2:
                text = text[:start] + garbage.text(chance) + text[end:]
            case 3:
                text = text[:start]
            case 4:
                lines = text.split("\n")
                at = chance.randrange(len(lines))
                lines[at : at + 1] = [lines[at]] * chance.choice([0, 2, 40])
                text = "\n".join(lines)
            case 5:
                text = garbage.edited(text.encode("utf-8", "replace"), chance).decode("utf-8", "replace")
            case _ if text.startswith(("[", "{")):
                lines = text.splitlines()
                at = chance.randrange(len(lines))
                if lines[at].startswith(("[", "{")) and is_json(lines[at]):
                    lines[at] = garbage.restructured(lines[at], chance).decode("utf-8", "replace")
                text = "\n".join(lines)
    return text


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@cache
def cloud() -> tuple[Slice, Comparison]:
    return Slice.from_dict(RECORDED["slice"]), Comparison(Inventory())


def judge(host: str, answers: dict[str, str | None]) -> list[str]:
    """Return all sentences about the answers: of entry 5, the doctor and the proof."""
    slice_, comparison = cloud()
    facts = parse_answers(host, answers)
    found = [*findings.of_host(comparison.inventory, facts, time.time(), time.time())]
    found += comparison.of_slice(slice_, {host: facts})
    owners = Owners(comparison, [], lambda _: False)
    lost = [*orphans(owners, facts), *orphans(Owners(comparison, [slice_], lambda _: False), facts)]
    proof = Proof(comparison.inventory, [slice_], {host: facts}).properties()
    return [
        *(finding.sentence for finding in found),
        *(orphan.finding.sentence for orphan in lost),
        *(step.title for orphan in lost for step in orphan.steps),
        *(breach.sentence for each in proof for breach in each.breaches),
    ]


def assert_readable(sentences: list[str]) -> None:
    for sentence in sentences:
        assert sentence.isprintable(), sentence
        assert len(sentence) < LONGEST_WORDS + 100


def cases(kind: str, shard: int, bounded: int, whole: int) -> Iterator[tuple[str, random.Random]]:
    count = scaled(bounded, whole) // SHARDS
    for number in range(shard * count, (shard + 1) * count):
        name = f"{kind} {SEED} {number}"
        yield name, random.Random(name)


def test_the_recorded_answers_are_those_of_a_cloud_that_is_whole() -> None:
    for host in (WORKER, NETWORK):
        facts = parse_answers(host, RECORDED[host])
        assert not facts.unread
        assert {finding.code for finding in cloud()[1].of_slice(cloud()[0], {host: facts})} <= {"qemu-wrong"}
    shown = parse_answers(NETWORK, RECORDED[NETWORK] | {"namespaces": RECORDED["namespaces not entered"]})
    assert not shown.unread


@pytest.mark.parametrize("address", ["10.0.10.3", "fe80::ff:fe00:3"])
def test_a_device_with_an_address_that_is_none_is_not_read(address: str) -> None:
    said = RECORDED[NETWORK]["devices"].replace(f'"{address}"', f'"{address}x"')
    answers = RECORDED[NETWORK] | {"devices": said}
    assert "devices" in parse_answers(NETWORK, answers).unread
    assert_readable(judge(NETWORK, answers))


@pytest.mark.parametrize("shard", range(SHARDS))
def test_collecting_accepts_any_answer_of_a_host(shard: int) -> None:
    shown = {"namespaces": RECORDED["namespaces not entered"]}
    for name, chance in cases("look", shard, 1_000, 100_000):
        host = chance.choice([WORKER, NETWORK])
        answers = RECORDED[host] | (shown if host == NETWORK and chance.random() < 0.3 else {})
        part = chance.choice(list(answers))
        said = mutated(answers[part] if chance.random() < 0.9 else answers[chance.choice(list(answers))], chance)
        try:
            began = time.monotonic()
            assert_readable(judge(host, answers | {part: said}))
            assert time.monotonic() - began < 20
        except BaseException as error:
            error.add_note(f"{name}: {host} {part} {said!r}")
            raise


def transcript(chance: random.Random) -> tuple[Batch, bytes]:
    """Return a batch, and the output of a shell that runs it."""
    command, guarded = Command(("a",)), Command(("a",), unless=("b",), ok=(0, 3))
    upload = Upload("image", "target", "part", ("b",))
    kinds: list[Command | Upload] = [command, command, guarded, upload]
    actions = [chance.choice(kinds) for _ in range(chance.randint(1, 6))]
    batch = Batch([Step("h", "a step", tuple(actions))], keep_going=chance.random() < 0.3)
    said = f"\n{NONCE} 0 begin\n"
    for number in range(1, batch.end):
        said += f"{garbage.text(chance)}\n{NONCE} {number} {chance.choice(['0', '0', '0', 'skipped', 'wanted', '1'])}\n"
    return batch, f"{said}\n{NONCE} {batch.end} {chance.choice(['0', '100'])}\n".encode("utf-8", "replace")


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_transcript_is_one_of_its_batch_or_refused(shard: int) -> None:
    received = 0
    for name, chance in cases("transcript", shard, 5_000, 100_000):
        batch, whole = transcript(chance)
        streams = [garbage.edited(whole, chance) if chance.random() < 0.4 else whole for _ in range(2)]
        try:
            received += feed(batch, streams, chance)
        except BadAnswer as refused:
            assert_readable([str(refused)])
        except BaseException as error:
            error.add_note(f"{name}: {streams!r}")
            raise
    assert received > 0


def feed(batch: Batch, streams: list[bytes], chance: random.Random) -> int:
    """Return the number of outcomes: each once, in their order, none after one that ends the batch."""
    received: list[Outcome | UploadWanted] = []
    spoken, size = Transcript(batch, NONCE), chance.choice([1, 7, 4096])
    for at in range(0, max(map(len, streams)), size):
        spoken.stdout(streams[0][at : at + size])
        spoken.stderr(streams[1][at : at + size])
        received += spoken.finished()
    assert [item.action for item in received] == list(range(len(received)))
    if spoken.has_ended() and spoken.status == 0 and spoken.is_whole:
        stopped = received and batch.stops_at(len(received), said_of(received[-1]))
        assert stopped or len(received) == batch.end - 1
    return len(received)


def said_of(item: Outcome | UploadWanted) -> str:
    if isinstance(item, UploadWanted):
        return "wanted"
    return "skipped" if item.status is None else str(item.status)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_figures_are_read_or_refused(shard: int) -> None:
    slice_, _ = cloud()
    pids = "".join(f"{vm.vm_id} {vm.pid}\n" for vm in slice_.vms if vm.worker_ip == WORKER)
    ports = " 5901 5902\nLISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 1 [::]:5901 [::]:*\n"
    readers: list[tuple[str, Callable[[str], Any]]] = [
        (RECORDED["discovery"], lambda said: DeploymentAPI.measured(said, 1_795_888_721.0)),
        (pids, lambda said: DeploymentAPI.pids(slice_, WORKER, said)),
        (ports, lambda said: VMLauncher.ports_taken(PORT_TAKEN, said)),
    ]
    assert all(reader(whole) for whole, reader in readers)
    for name, chance in cases("figure", shard, 5_000, 100_000):
        whole, reader = chance.choice(readers)
        said = mutated(whole, chance)
        try:
            reader(said)
        except BadAnswer as refused:
            assert_readable([str(refused)])
        except BaseException as error:
            error.add_note(f"{name}: {said!r}")
            raise


SIZE = scaled(LONGEST_ANSWER // 4, LONGEST_ANSWER)


def repeated(piece: str) -> str:
    return piece * ((SIZE - 100) // len(piece))


def numbered(piece: str) -> str:
    return "".join(piece.replace("#", str(number)) for number in range((SIZE - 100) // (len(piece) + 10)))


PORT = '[["uuid","#"],"p#",["set",[]],["set",[]],["set",[]],false,["uuid","#"]],'
INTERFACE = '[["uuid","#"],"p#","",1,["set",[]],["map",[]]],'
PORT_HEADINGS = '"headings":["_uuid","name","tag","trunks","vlan_mode","protected","interfaces"]}'
INTERFACE_HEADINGS = '"headings":["_uuid","name","type","ofport","error","external_ids"]}'
LONGEST: dict[tuple[str, str], Callable[[], str]] = {
    ("ports", "nested"): lambda: "[" * SIZE,
    ("ports", "trunks"): lambda: "\n".join(
        (
            '{"data":[],"headings":["name","ports"]}',
            '{"data":[' + numbered(PORT)[: SIZE // 3].rpartition("],[")[0] + "]]," + PORT_HEADINGS,
            '{"data":[' + numbered(INTERFACE)[: SIZE // 2].rpartition("],[")[0] + "]]," + INTERFACE_HEADINGS,
            '{"data":[],"headings":["external_ids"]}',
        )
    ),
    ("devices", "objects"): lambda: "[" + repeated('{"ifname":"a","flags":[]},') + "{}]",
    ("flows", "lines"): lambda: numbered("cookie=0xc10d000000000000,priority=#,in_port=# actions=drop\n"),
    ("flows", "one line"): lambda: repeated("a,") + "actions=drop",
    ("processes", "processes"): lambda: numbered("/proc/#/cmdline:qemu-kvm\x1f-name\x1fslice9-vm9\x1f\n"),
    ("files", "slices"): lambda: numbered("d 1 1.0 slice-#\n"),
    ("files", "files"): lambda: numbered("f 1 1.0 slice-#/a_img.qcow2\n"),
    ("marks", "hosts"): lambda: "/run/ns-dhcp-vlan400\n\n" + numbered("/run/ns-dhcp-vlan400/hosts/slice-#:a\n"),
    ("namespaces", "sockets"): lambda: "namespace ns-dhcp-vlan400\n0\n[]\n" + repeated("%a"),
    ("namespaces", "addresses"): lambda: numbered("in ns-gw-slice1000 address 1.1.1.1\nin ns-gw-slice1000 network #\n"),
    ("namespaces", "names"): lambda: numbered("namespace ns-#\n0\n[]\n"),
    ("rules", "chains"): lambda: "*filter\n" + numbered("-A C# -j ACCEPT\n"),
    ("rules", "ours"): lambda: "*raw\n" + numbered("-A C# --comment cloud-repositorio -j ACCEPT\n"),
    ("filter", "lines"): lambda: "*filter\n" + numbered("-A INPUT -j slice-#\n"),
    ("routes", "routes"): lambda: numbered("10.60.7.0/24 dev a# scope global\n"),
    ("routes", "networks"): lambda: numbered("10.0.0.0/8 dev ens3 scope link #\n"),
    ("peers", "peers"): lambda: numbered("0 0 a:22 10.60.7.1:#\n"),
    ("forwarding", "barriers"): lambda: "1\n" + numbered("chain #\n"),
    ("disks", "disks"): lambda: numbered("/proc/#/fd /a\n"),
    ("programs", "versions"): lambda: numbered("dnsmasq #" + "9" * 3000 + ".1\n"),
    ("programs", "names"): lambda: numbered("a#\n"),
    ("resources", "digits"): lambda: "clock " + "9" * (SIZE - 6),
}
"""Makers of answers of a megabyte: the tests that need none of them are collected without."""


@pytest.mark.parametrize(("part", "what"), LONGEST)
def test_the_longest_answers_take_seconds(part: str, what: str) -> None:
    host = WORKER if part in {"files", "flows"} else NETWORK
    longest = LONGEST[part, what]()
    assert len(longest) <= SIZE
    began = time.monotonic()
    assert_readable(judge(host, RECORDED[host] | {part: longest}))
    assert time.monotonic() - began < scaled(10, 30)


def test_a_longer_answer_is_not_read() -> None:
    assert parse_answers(WORKER, {"flows": "x" * (LONGEST_ANSWER + 1)}).invalid == ("flows",)

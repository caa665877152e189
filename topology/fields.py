"""The keys of a slice file: one table, from which the reader and the JSON Schema are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from core.formats import MAX_NAME_LENGTH
from core.goals import LONGEST_PATTERN, LONGEST_SENTENCE, LONGEST_TARGET, MOST_GOALS, MOST_POINTS
from core.impairments import MOST_KBIT, MOST_MS, RATES, SHARES, TIMES
from core.links import SERVICES
from models import MAX_DATA_INTERFACES
from topology import design
from topology.document import Node
from topology.faults import FoundFaults
from topology.kinds import (
    Address,
    AsYAML,
    ByForm,
    Choice,
    Cidr,
    Field,
    Flag,
    Held,
    Kind,
    ListOf,
    Measure,
    Number,
    Pattern,
    Record,
    Schema,
    TableOf,
    Words,
)

MAX_VMS = 1000
MAX_LINKS = 2000

_NAMES = rf"[A-Za-z][A-Za-z0-9_-]{{0,{MAX_NAME_LENGTH - 1}}}"
NAME = Pattern(_NAMES, f"a name: a letter, then letters, digits, `_` and `-`; at most {MAX_NAME_LENGTH} characters")
FLAVOR = Pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "the name of a flavor")
LINK_NAME = Pattern(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", "a name of a link: a letter, then letters, digits, `_`, `.`, `-`")
END = Pattern(rf"{_NAMES}(:eth[0-9]{{1,2}})?", "an end of a link: write VM or VM:eth1")
ENDS = Pattern(
    rf"{END.form} +- +{END.form}",
    "a link: write `r1 - r2` with spaces around the hyphen, `r1:eth1 - r2:eth2`, or `[r1, r2, r3]` for a LAN",
)

PROFILE = Pattern("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a name of a profile: letters, digits, dots, hyphens, underscores")
RATE = Measure(RATES, most=MOST_KBIT, least=1)
DURATION = Measure(TIMES, most=MOST_MS)
PERCENT = Measure(SHARES, most=100)
WITHIN = Pattern("[1-9][0-9]{0,3}[sm]", "a time such as 90s or 5m, at most 60m")


def _per_end(kind: Kind) -> Kind:
    return ByForm(kind, TableOf(NAME, kind, MAX_VMS))


class Read(NamedTuple):
    """The values of a record, and whether all of it could be read."""

    values: dict[str, Held]
    whole: bool


@dataclass(frozen=True)
class Watched:
    """A record that says whether all of it could be read: a key that could not be is no key that is missing."""

    kind: Record

    def read(self, node: Node, report: FoundFaults) -> Read | None:
        """Return the values."""
        before = len(report.faults)
        found = self.kind.read(node, report)
        return None if found is None else Read(found, len(report.faults) == before)

    def schema(self) -> Schema:
        """Return the schema of the record."""
        return self.kind.schema()


SEED = Record(
    "a seed",
    (
        Field("script", Words(16 << 10, lines=True), "a script that root runs once, at the first boot"),
        Field("user_data", AsYAML(), "cloud-config that is merged into ours"),
    ),
)
VM = Record(
    "a VM",
    (
        Field("flavor", FLAVOR, "the flavor of the VM", required=True),
        Field("nics", Number(0, MAX_DATA_INTERFACES), "the number of data interfaces, eth1 and up"),
        Field("internet", Flag(), "whether eth0 is on the internet VLAN; default false"),
        Field("seed", SEED, "first-boot data, for flavors that take a seed"),
        Field("start", Choice(design.STARTS), "whether deploying the slice starts the VM; default auto"),
    ),
)
LINK = Record(
    "a link",
    (
        Field("ends", ListOf(END, MAX_VMS), "two VMs or more, each as VM or VM:eth1", required=True),
        Field("name", LINK_NAME, "the name of the link"),
        Field("services", Choice(SERVICES), "what we put on the link; default dhcp+gateway"),
        Field("cidr", Cidr(), "the network of the link"),
        Field("addresses", TableOf(NAME, Address(), MAX_VMS), "fixed addresses by VM"),
        Field("rate", _per_end(RATE), "bits per second that an end receives"),
        Field("delay", _per_end(DURATION), "delay of frames that an end receives"),
        Field("jitter", _per_end(DURATION), "variation of that delay"),
        Field("loss", _per_end(PERCENT), "share of frames that an end loses"),
        Field("profile", _per_end(PROFILE), "a named set of rate, delay, jitter and loss"),
        Field("state", Choice(design.STATES), "up, down (no carrier) or silent (carrier, no frames); default up"),
        Field("transparent", Flag(), "whether the link passes VLAN tags; default false"),
    ),
)
_HOST = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9][A-Za-z0-9_-]{0,62}){0,9}"
_PORT = "[1-9][0-9]{0,4}"
_PING, _TCP = f"{_HOST}(:eth[0-9]{{1,2}})?", f"{_HOST}:{_PORT}"
_HTTP = f"(https?://)?{_HOST}(:{_PORT})?(/[!-~]{{0,200}})?"
HOST_NAME = Pattern(_HOST, "a name that a name server knows, such as www.lab.example")
PING = Pattern(_PING, "what a probe pings: an IPv4 address, VM, VM:eth1, or a name")
TCP = Pattern(_TCP, "what a probe connects with: VM:80, or an address or name in place of VM")
HTTP = Pattern(_HTTP, "a page such as http://VM/, http://10.1.2.3:8080/index.html or VM:80")
REFUSES = Pattern(
    f"(tcp {_TCP}|http {_HTTP}|ping {_PING}|dns {_HOST})",
    "what has to fail: write `tcp VM:22`, `http VM/` or `ping VM`",
)
TRAFFIC = Pattern(
    r"(?! *-)(?!.* -)(?=.*[!-~])[ -~]{1,256}",
    "ospf, bgp, rip, vrrp, stp, lldp, dhcp, arp, or a filter of tcpdump: at most 256 printable characters, "
    "no word of them begins with `-`",
)
NIC = Pattern(rf"{_NAMES}:eth[0-9]{{1,2}}", "an interface: write VM:eth1")
SOURCE = Pattern(rf"({LINK_NAME.form}|{NIC.form})", "a link: its name, an interface on it such as r1:eth1, or outside")
GOAL = Record(
    "a goal",
    (
        Field("name", LINK_NAME, "the name of the goal", required=True),
        Field("booted", ListOf(NAME, MAX_VMS), "VMs that have to be ready"),
        Field("lease", NIC, "an interface that has to have its address"),
        Field("sees", TRAFFIC, "traffic that has to be seen: ospf, bgp, rip, vrrp, stp, lldp, dhcp, arp, or a filter"),
        Field("ping", PING, "an address or a VM that has to answer"),
        Field("tcp", TCP, "VM:port that has to take a connection"),
        Field("http", HTTP, "a page that has to answer"),
        Field("dns", HOST_NAME, "a name that has to be resolved"),
        Field("refuses", REFUSES, "a connection that has to fail, such as tcp srv:22"),
        Field("run", Words(LONGEST_TARGET), "a command that runs in the guest"),
        Field("on", END, "the interface that `sees` looks at, or the VM in which `run` runs"),
        Field("from", SOURCE, "the link of the probe, or outside"),
        Field(
            "expect", Words(LONGEST_PATTERN), "an extended regular expression that the command's output has to match"
        ),
        Field("within", WITHIN, "how long the goal is tried; default 60s"),
        Field("points", Number(0, MOST_POINTS), "points for the goal; default 1"),
        Field("pass", Words(LONGEST_SENTENCE), "a sentence for the student where the goal is met"),
        Field("fail", Words(LONGEST_SENTENCE), "a sentence for the student where the goal is not met"),
        Field("stop", Flag(), "whether the run ends where the goal is not met"),
    ),
)
SLICE = Record(
    "a slice file",
    (
        Field("slice", NAME, "the name of the slice", required=True),
        Field("description", Words(1000, lines=True), "what the slice is for"),
        Field("vms", TableOf(NAME, ByForm(FLAVOR, VM), MAX_VMS), "NAME: FLAVOR, or NAME: with keys", required=True),
        Field("links", ListOf(ByForm(ENDS, LINK, ListOf(END, MAX_VMS)), MAX_LINKS), "links between VMs"),
        Field("goals", ListOf(Watched(GOAL), MOST_GOALS), "what has to work in the end"),
    ),
)


def schema() -> Schema:
    """Return the JSON Schema (draft-07) of a slice file."""
    whole: dict[str, Any] = SLICE.schema()
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Cloud Repositorio slice file", **whole}

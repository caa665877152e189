"""The accounts of a host: the machine's system accounts without its people, and the SSH user of the product."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FIRST_PERSON = 1000
OVERFLOW_UID = 65534
UID = GID = 1000
KVM_GROUP = "kvm"


def _records(path: Path) -> Iterator[list[str]]:
    for line in path.read_text(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) > 3 and not line.startswith(("#", "+", "-")):
            yield fields


def _is_system(number: str) -> bool:
    return number.isdecimal() and (int(number) < FIRST_PERSON or int(number) == OVERFLOW_UID)


def _text(records: list[list[str]]) -> str:
    return "".join(":".join(fields) + "\n" for fields in records)


def files(user: str, etc: Path = Path("/etc")) -> dict[str, str]:
    """Return the texts of passwd, shadow, group and gshadow, by name.

    Every password is `*`, which allows no login by password. Unlike `!` it is no locked account, which sshd with
    `UsePAM no` refuses even with a key.
    """
    people = [record for record in _records(etc / "passwd") if _is_system(record[2]) and record[0] != user]
    groups = [[name, "x", gid, ""] for name, _, gid, *_ in _records(etc / "group") if _is_system(gid) and name != user]
    for record in people:
        record[1] = "x"
    for group in groups:
        if group[0] == KVM_GROUP:
            group[3] = user
    people.append([user, "x", str(UID), str(GID), "", f"/home/{user}", "/bin/bash"])
    groups.append([user, "x", str(GID), ""])
    return {
        "passwd": _text(people),
        "shadow": _text([[record[0], "*", "19000", "0", "99999", "7", "", "", ""] for record in people]),
        "group": _text(groups),
        "gshadow": _text([[name, "*", "", members] for name, _, _, members in groups]),
    }


def kvm_gid(etc: Path = Path("/etc")) -> int | None:
    """Return the group that may open /dev/kvm, or None where the machine has no such group."""
    return next((int(record[2]) for record in _records(etc / "group") if record[0] == KVM_GROUP), None)

"""Generated input: answers for the menu and contents for `database.yaml`. Equal seeds make equal input."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

NUMBERS = (
    *("0", "1", "2", "1000", "1001", "1002", "1004", "007", "+1", "-1", "1_000", "1e3", "0x10", "0b1", "1.0", "\xbd"),
    *("\u0661\u0660\u0660\u0660", "\u2212" + "1", "1,000", "\xb2", " 6 ", "6\t", "99999", "100000"),
    *("9" * 400, "9" * 5000, "1" + "0" * 30),
)
WORDS = (
    *("", "..", ".", "y", "n", "Y", "yes", "no", "f", "t", "l", "eth0", "eth1", "eth2", "eth10", "eth11", "ETH1"),
    *("admin", "student", "root", "vm1", "vm9", "net1", "a" * 32, "a" * 33, "-", "_", "../../etc", "$(reboot)"),
    *("`id`", "; ls", "%s%n", "{0}", "[red]x[/red]", "\\x1b[2J", "None", "null", "~"),
    *("\x1d", "\x04", "\x03", "\x1b[A", "\x7f"),
)
SPECIAL = "\x00\x01\x08\x0b\x0c\x0e\x1b\x7f\x85\xa0\xad\u200b\u202e\u2028\u2029\ufeff\ufffd\ufffe\U0001f600\U0010ffff"


def text(chance: random.Random, longest: int = 30) -> str:
    """Return any characters, surrogates among them."""
    ranges = ((32, 126), (0, 31), (0x80, 0x2FF), (0x2000, 0x206F), (0xD800, 0xDFFF), (0x1F300, 0x1FAFF), (0, 0x10FFFF))
    low, high = chance.choice(ranges)
    return "".join(chr(chance.randint(low, high)) for _ in range(chance.randint(0, longest)))


def encoded(string: str) -> bytes:
    return string.encode("utf-8", "surrogatepass")


# --- What is typed ----------------------------------------------------------------------------------------------------


def answer(chance: random.Random) -> bytes:
    """Return one line without its end."""
    kind = chance.random()
    if kind < 0.35:
        return encoded(chance.choice(NUMBERS))
    if kind < 0.65:
        return encoded(chance.choice(WORDS))
    if kind < 0.75:
        return chance.randbytes(chance.randint(0, 40)).replace(b"\n", b"")
    if kind < 0.85:
        return encoded(text(chance)).replace(b"\n", b"")
    if kind < 0.95:
        return encoded(chance.choice((*WORDS, *NUMBERS)) + chance.choice(SPECIAL) + chance.choice(WORDS))
    return encoded(chance.choice(SPECIAL + "aé9.")) * chance.choice([255, 256, 257, 4095, 4096, 4097, 20_000])


def session(chance: random.Random) -> bytes:
    """Return a visit: a login, then entries with good, nearly good or bad answers; it may end anywhere."""
    lines: list[bytes] = []
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        lines += [answer(chance), answer(chance)]
    lines += [b"admin", b"admin", *([b"l"] if chance.random() < 0.9 else [])]
    for _ in range(chance.randint(0, 6)):
        lines += [mutated_line(line, chance) for line in entry(chance)]
        lines += [answer(chance) for _ in range(chance.choice([0, 0, 1]))]
    ends = [b"\n", b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b""]
    script = b"".join(line + chance.choice(ends) for line in lines)
    return script[: chance.randint(0, len(script))] if chance.random() < 0.3 else script


def entry(chance: random.Random) -> list[bytes]:
    """Return an entry of the menu with answers to its prompts."""
    slice_id, ends = b"1000", [b"1001", b"eth2", b"1002", b"eth2"]
    vm = [b"vm%d" % chance.randint(0, 9), b"%d" % chance.randint(0, 3), b"%d" % chance.randint(0, 11), b"y"]
    entries: list[list[bytes]] = [
        [b"1"], [b"2", b"lab"], [b"3", slice_id, *vm], [b"4", slice_id, *ends], [b"5"], [b"6", slice_id],
        [b"7", slice_id, chance.choice([b"y", b"n"])], [b"8", b"student", b"student"], [b"9", b"1001", b"ls\x1d"],
        [b"10", slice_id], [b"11", slice_id], [b"12"], [b"13"], [b"0"],
    ]  # fmt: skip
    return chance.choice(entries)


def mutated_line(line: bytes, chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.85:
        return line
    if kind < 0.9:
        return answer(chance)
    at = chance.randint(0, len(line))
    return line[:at] + encoded(chance.choice(SPECIAL + " \t.0")) + line[at:]


# --- What is in the file ----------------------------------------------------------------------------------------------

TOKENS = (
    *("&a ", "*a", "!!python/object/apply:os.system ", "!!binary ", "!!set ", "!!omap ", "!!int ", "!x ", "<<: "),
    *("? ", ": ", "- ", "--- ", "---\n", "...\n", "%YAML 1.1\n", "%TAG ! tag:x,2000:\n", "|\n", ">-\n", "'", '"'),
    *("{", "}", "[", "]", ",", "#", "@", "`", "%", "=", "~", "null", "yes", "0x1F", "1_0", "1:30", ".inf", ".nan"),
    *("1e999", "2024-99-99", "2001-12-14t21:59:43.10-05:00", "0o17", "9" * 30, "-0", "\\"),
    *("\t", "\r", "\n", "\x85", "\u2028", "\ufeff", "\x00"),
)
KEYS = ("users", "slices", "vms", "vm_id", "interfaces", "links", "vlan_id", "next_vm_id", "workers_list", "", "1000")


def content(chance: random.Random, good: list[str]) -> bytes:
    """Return a file like a good one, or like YAML, or like neither."""
    kinds: list[tuple[float, Callable[[], bytes]]] = [
        (0.40, lambda: edited(chance.choice(good).encode(), chance)),
        (0.35, lambda: restructured(chance.choice(good), chance)),
        (0.20, lambda: ("users: {}\n" * chance.randint(0, 1) + yaml_text(chance, 0)).encode("utf-8", "surrogatepass")),
        (0.05, lambda: chance.randbytes(chance.randint(0, 300))),
    ]
    return chance.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]()


def edited(whole: bytes, chance: random.Random) -> bytes:
    """Return the file with bytes flipped, removed, doubled or swapped, and tokens inserted; mostly still like YAML."""
    for _ in range(chance.choice([1, 1, 1, 2, 4, 8])):
        at, length = chance.randint(0, max(len(whole) - 1, 0)), chance.choice([1, 1, 2, 5, 40])
        piece = whole[at : at + length]
        match chance.randint(0, 7):
            case 0:
                whole = whole[:at] + bytes(byte ^ (1 << chance.randint(0, 7)) for byte in piece) + whole[at + length :]
            case 1:
                whole = whole[:at] + whole[at + length :]
            case 2:
                whole = whole[:at] + piece * 2 + whole[at + length :]
            case 3 | 4:
                whole = whole[:at] + encoded(chance.choice(TOKENS)) + whole[at + chance.choice([0, 0, length]) :]
            case 5:
                lines = whole.split(b"\n")
                one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                whole = b"\n".join(lines)
            case 6:
                lines = whole.split(b"\n")
                one = chance.randrange(len(lines))
                lines[one] = chance.choice([b" " + lines[one], lines[one][1:], lines[one] + b"\n" + lines[one], b""])
                whole = b"\n".join(lines)
            case 7:
                words = whole.split(b" ")
                one, other = chance.randrange(len(words)), chance.randrange(len(words))
                words[one], words[other] = words[other], words[one]
                whole = b" ".join(words)
    return whole


def restructured(good: str, chance: random.Random) -> bytes:
    """Return the same tree with parts replaced, renamed, doubled or removed; `good` and the result are JSON."""
    record = json.loads(good)
    for _ in range(chance.choice([1, 1, 2, 5])):
        node = record
        while True:
            below = [
                child for child in (node.values() if isinstance(node, dict) else node) if isinstance(child, dict | list)
            ]
            below = [child for child in below if child]
            if not below or chance.random() < 0.25:
                break
            node = chance.choice(below)
        if not node:
            continue
        key: Any = chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
        match chance.randint(0, 3):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[chance.choice((*KEYS, text(chance)))] = node.pop(key)
            case 2 if isinstance(node, list):
                node.append(node[key])
            case _:
                node[key] = value(chance)
    return json.dumps(record).replace("NaN", ".nan").replace("Infinity", ".inf").encode()


def value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randint(0, 9 if depth < 3 else 7)
    simple: list[Any] = [
        None, chance.random() < 0.5, chance.randint(-5, 5), chance.randint(990, 1020),
        chance.randint(-(10**30), 10**30), chance.uniform(-1e3, 1e3), chance.choice(KEYS), text(chance),
    ]  # fmt: skip
    if kind < len(simple):
        return simple[kind]
    inner = [value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    return inner if kind == 8 else dict(zip(KEYS, inner, strict=False))


def yaml_text(chance: random.Random, depth: int) -> str:
    """Return a text by YAML's grammar, right or nearly right."""
    pad = "  " * depth
    match chance.randint(0, 7 if depth < 5 else 3):
        case 0:
            return chance.choice(TOKENS) + chance.choice(KEYS) + "\n"
        case 1:
            return json.dumps(text(chance)) + "\n"
        case 2:
            return "'" + text(chance).replace("'", "''") + "'\n"
        case 3:
            return str(value(chance)) + "\n"
        case 4:
            return "".join(f"\n{pad}- {yaml_text(chance, depth + 1)}" for _ in range(chance.randint(1, 3)))
        case 5:
            return "[" + ", ".join(yaml_text(chance, depth + 1).strip() for _ in range(chance.randint(0, 3))) + "]\n"
        case 6:
            return f"|{chance.choice(['', '-', '+', '2', '9', 'x'])}\n{pad}  {text(chance)}\n"
    return "".join(
        f"\n{pad}{chance.choice((*KEYS, *TOKENS))}: {yaml_text(chance, depth + 1)}" for _ in range(chance.randint(1, 4))
    )

"""`--json`: every command that shows something has it, and its record has the keys that its help documents."""

from __future__ import annotations

import io
import json
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest

from docs.reference.commands import leaves
from menu import commands, users
from menu.arguments import parser
from menu.screen import Screen
from models import ADMIN
from tests.support.desk import Desk

FILE = """\
slice: {name}
vms: {{vm0: cirros, vm1: cirros, new: cirros}}
links: [vm0 - vm1]
goals: [{{name: up, booted: [new]}}]
"""
OPAQUE = {"workers", "flavors", "fields", "unseen"}
"""Keys whose values have names of their own: addresses, flavors, changed fields."""

NO_RECORD = {
    *("", "deploy", "repair", "delete", "start", "stop", "restart", "reset", "snapshot", "restore"),
    *("apply", "add-vm", "remove-vm", "link", "unlink", "set-link", "keys add", "keys remove"),
    *("image add", "image stage", "image remove", "host forget", "host forget-key", "resume"),
    *("user add", "user passwd", "user quota", "user slices", "user role", "user remove"),
    *("console", "connect", "capture", "help"),
    *("export", "convert", "ssh-config", "completion", "names", "authorized-keys"),
    *("database export", "database import"),
}
"""Commands that change something, join something, or write a file of another kind."""


def shape_of(command: str) -> list[dict[str, Any]]:
    """Return the records that the help of `--json` documents: key -> the record in its list, or None."""
    words = next(each for name, each in leaves(parser(Path())) if name == command)
    text = next(action.help or "" for action in words._actions if action.dest == "json")
    return [_record(tokens) for tokens in _records(text)]


def _records(text: str) -> list[list[str]]:
    found, depth, tokens = [], 0, re.findall(r"\w+|[{}\[\]:,]", text.partition("JSON: ")[2])
    current: list[str] = []
    for token in tokens:
        depth += (token == "{") - (token == "}")
        if depth or token == "}":
            current.append(token)
        if not depth and token == "}":
            found.append(current)
            current = []
    return found


def _record(tokens: list[str]) -> dict[str, Any]:
    assert tokens.pop(0) == "{"
    record: dict[str, Any] = {}
    while True:
        name = tokens.pop(0)
        record[name] = None
        following = tokens.pop(0)
        if following == ":":
            in_list = tokens[0] == "["
            if in_list:
                tokens.pop(0)
            record[name] = _record(tokens)
            if in_list:
                assert tokens.pop(0) == "]"
            following = tokens.pop(0)
        if following == "}":
            return record


def keys_of(value: Any) -> Any:
    """Return the keys of a record as `shape_of` does; a list has those of its first entry."""
    if isinstance(value, list):
        return keys_of(value[0]) if value else None
    if isinstance(value, dict):
        return {key: None if key in OPAQUE else keys_of(each) for key, each in value.items()}
    return None


def carry_out(desk: Desk, *words: str) -> Any:
    """Return the record of a command for `student`, an admin."""
    args = parser(Path()).parse_args([*words, "--json"])
    args.actor = "student"
    output = io.StringIO()
    screen = Screen(output, terminal=False)
    if args.command == "user":
        users.manage(desk.api.accounts, args, None, screen)  # type: ignore[arg-type]
    else:
        commands.COMMANDS[args.command](desk.api, args, screen)
    assert output.getvalue().count("\n") == 1
    return json.loads(output.getvalue())


@pytest.fixture
def full(desk: Desk, tmp_path: Path) -> Desk:
    """Return a desk with one of each thing that a record has, and files beside it."""
    desk.api.accounts.set_role("student", ADMIN)
    desk.ring(3)
    desk.ok(desk.api.deploy_slice("student", 1000))
    desk.ok(desk.api.snapshots.take("student", 1000, "base", []))
    desk.ok(desk.api.keys.add("student", KEY))
    for name in ("ring", "other"):
        (tmp_path / f"{name}.yaml").write_text(FILE.format(name=name))
    (tmp_path / "bad.yaml").write_text("slice: 1\nvms: {a: tiny}\n")
    return desk


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f laptop"

CASES = {
    "list": ("list",),
    "quota": ("quota",),
    "snapshots": ("snapshots", "ring"),
    "keys list": ("keys", "list"),
    "image list": ("image", "list"),
    "user list": ("user", "list"),
    "graph": ("graph", "ring"),
}


@pytest.mark.parametrize("command", CASES)
def test_a_record_has_the_documented_keys(full: Desk, command: str) -> None:
    assert keys_of(carry_out(full, *CASES[command])) == shape_of(command)[0]


def test_a_file_is_valid_or_has_faults(full: Desk, tmp_path: Path) -> None:
    valid, invalid = shape_of("validate")
    found = carry_out(full, "validate", str(tmp_path / "other.yaml"))
    assert found == {"valid": True, "slice": "other", "vms": 3, "links": 1, "goals": 1}
    assert keys_of(found) == valid
    found = carry_out(full, "validate", str(tmp_path / "bad.yaml"))
    assert keys_of(found) == invalid
    assert [fault["line"] for fault in found["faults"]] == [1, 2]


def test_the_plan_of_a_slice_has_its_steps_in_their_order(full: Desk) -> None:
    full.ok(full.api.create_slice("student", "second"))
    full.ok(full.api.add_vm_to_slice("student", 1004, "a", "cirros", 1, True))
    record = carry_out(full, "plan", "second")
    assert keys_of(record) == shape_of("plan")[0] | {"differences": None}
    assert list(dict.fromkeys(step["stage"] for step in record["steps"])) == [
        "preflight",
        "prepare",
        "launch",
        "verify",
    ]
    counts, made = record["counts"], [step for step in record["steps"] if step["objects"]]
    assert (counts["changes"], counts["changes"] + counts["checks"]) == (len(made), len(record["steps"]))
    assert "tap_1005_eth0" in {name for step in made for name in step["objects"]}


def test_the_plan_of_a_file_has_the_differences(full: Desk, tmp_path: Path) -> None:
    new = carry_out(full, "plan", str(tmp_path / "other.yaml"))
    assert new["differences"] == [{"kind": "slice", "name": "other", "effect": "added", "fields": {}}]
    assert keys_of(new) == shape_of("plan")[0]
    full.ok(full.api.designs.create("student", full.ok(full.api.designs.read("student", FILE.format(name="other")))))
    same = carry_out(full, "plan", str(tmp_path / "other.yaml"))
    assert same == {"counts": {"changes": 0, "checks": 0, "hosts": 0}, "differences": [], "steps": []}
    (tmp_path / "other.yaml").write_text(FILE.format(name="other").replace("booted: [new]", "booted: [vm0]"))
    assert carry_out(full, "plan", str(tmp_path / "other.yaml"))["differences"] == [
        {"kind": "goal", "name": "up", "effect": "changed live", "fields": {"targets": "new -> vm0"}}
    ]


def test_every_command_that_shows_something_has_it() -> None:
    found = {name for name, words in leaves(parser(Path())) if not _has_json(words)}
    assert found <= NO_RECORD


def _has_json(words: ArgumentParser) -> bool:
    return any("--json" in action.option_strings for action in words._actions)

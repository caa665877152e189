"""`cli.py authorized-keys`: the lines with which sshd lets users in."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from accounts.accounts import Accounts
from core.ssh_keys import read_public_key
from menu.arguments import parse
from menu.authorized_keys import write_lines
from models import User
from storage.location import absolute
from tests.support.desk import Desk
from tests.support.paths import ROOT
from tests.support.playing import screen_of
from tests.unit.core.test_ssh_keys import ED25519, GOOD, rsa

URL = "postgresql://cloud@one,two/cloud?options=%2Dc%20a=%22b%22"


def lines(desk: Desk, *words: str, database: object = None) -> list[str]:
    output = io.BytesIO()
    args = parse(["--database", str(database or absolute(desk.location)), "authorized-keys", *words], "")
    screen = screen_of(output)
    assert write_lines(Accounts(desk.database), args, screen) == 0
    return output.getvalue().decode().splitlines()


def forced(line: str) -> str:
    """Return the command of a line, as sshd reads it."""
    found = re.match(r'restrict,pty,command="((?:[^"\\]|\\"|\\(?!"))*)" ', line)
    assert found, line
    return found[1].replace('\\"', '"')


def test_each_key_opens_its_users_restricted_session(desk: Desk) -> None:
    desk.ok(desk.api.keys.add("student", ED25519))
    desk.ok(desk.api.keys.add("admin", GOOD[1]))
    found = {line.split()[-1]: line for line in lines(desk)}
    assert {*found} == {"student", "admin"}
    key = read_public_key(ED25519)
    assert found["student"].endswith(f" {key.kind} {key.data} student")
    trap, _, words = forced(found["student"]).partition("; exec ")
    assert trap == "trap '' INT QUIT TSTP"
    program = [sys.executable, "-Es", str(ROOT / "cli.py"), "--database", absolute(desk.location)]
    assert shlex.split(words) == [*program, "--user=student"]


def test_a_name_that_begins_as_an_option_is_a_name(desk: Desk) -> None:
    with desk.database.transaction() as state:
        state.users["-x"] = User("-x", "a" * 64)
        state.users["-x"].keys.append(ED25519)
    (line,) = lines(desk)
    assert parse(shlex.split(forced(line).partition("; exec ")[2])[3:], "").restricted_user == "-x"


@pytest.mark.on_a_file
def test_only_the_key_that_sshd_asks_for_is_written(desk: Desk) -> None:
    for line in (ED25519, GOOD[1]):
        desk.ok(desk.api.keys.add("student", line))
    key = read_public_key(ED25519)
    assert [line.split()[-2] for line in lines(desk, key.kind, key.data)] == [key.data]
    assert lines(desk, key.kind, "AAAA") == []


@pytest.mark.on_a_file
def test_sshd_reads_any_location_as_it_is(desk: Desk, tmp_path: Path) -> None:
    desk.ok(desk.api.keys.add("student", ED25519))
    for place in (URL, '/a "quoted" \\ folder/it\'s.yaml', '/ends in \\"'):
        (line,) = lines(desk, database=place)
        assert shlex.split(forced(line).partition("; exec ")[2])[4] == place
        (tmp_path / "line").write_text(f"{line}\n")
        done = subprocess.run(["ssh-keygen", "-lf", tmp_path / "line"], capture_output=True, text=True, check=True)
        assert read_public_key(ED25519).fingerprint in done.stdout


def test_a_key_belongs_to_one_account(desk: Desk) -> None:
    desk.ok(desk.api.keys.add("student", ED25519))
    assert "Another account has this key" in desk.no(desk.api.keys.add("admin", ED25519))
    assert "Another account has this key" in desk.no(desk.api.keys.check("admin", ED25519))
    assert len(lines(desk)) == 1
    with desk.database.transaction() as state:  # by an older program
        state.users["admin"].keys.append(ED25519)
    assert lines(desk) == []


@pytest.mark.on_a_file
def test_a_key_that_an_operator_wrote_locks_out_no_other_user(desk: Desk) -> None:
    """The form of a line in the state is checked, and not its data: this key is too short for `keys add`."""
    with desk.database.transaction() as state:
        state.users["admin"].keys += [rsa(2048), f"{rsa(2048)} again"]
    desk.ok(desk.api.keys.add("student", ED25519))
    assert [line.split()[-1] for line in lines(desk)] == ["admin", "admin", "student"]
    assert [key.kind for key in desk.ok(desk.api.keys.list("admin"))] == ["ssh-rsa", "ssh-rsa"]

"""The service account of docs/students-over-ssh.md on a host of the lab, set up word by word."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from core import passwords
from lab import Lab, paths
from tests.support.lab.visitor import wait_until
from tests.support.paths import ROOT
from tests.support.playing import Terminal, terminal_of

HOST, ADDRESS = "network", "10.0.10.3"
PASSWORDS = {"alice": "alice in the lab", "mallory": "mallory in the lab"}
PACKAGES = (
    *("rich", "pygments", "markdown_it", "mdurl", "paramiko", "invoke", "cryptography", "bcrypt", "nacl", "yaml"),
    *("_yaml", "cffi", "_cffi_backend*", "*.dist-info"),
)
_REMOVE = (
    "userdel --remove cloud; rm -rf /srv/cloud /srv/python /srv/*.qcow2 /etc/ssh/cloud_students "
    "/etc/ld.so.conf.d/python.conf /root/database.yaml /root/id_ed25519"
)
DRIVER = ("psycopg", "psycopg_binary*", "typing_extensions.py")
PAGE_URL = "postgresql://cloud@one,two/cloud?target_session_attrs=read-write"
"""The database as docs/many-managers.md names it."""

# Worse than any default: all variables of a client are accepted.
_OPEN_ENVIRONMENT = "AcceptEnv *\n"


def _page() -> tuple[str, str, str, str]:
    """Return the commands, sshd's lines, a student's line and the command that adds alice, as the page has them."""
    text = (ROOT / "docs/students-over-ssh.md").read_text(encoding="utf-8")
    section = text.partition("## Set it up")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4, blocks
    return blocks[0], blocks[1], blocks[2], blocks[3]


@dataclass(frozen=True)
class StudentDoor:
    """The manager with its service account; `keys` are the students' private keys."""

    lab: Lab
    keys: dict[str, Path]

    def ssh(self, who: str, *arguments: str, program: str = "ssh") -> tuple[str, ...]:
        """Return the argv of a client in the manager's network, without this machine's own settings."""
        options = ["-F", "none", "-i", str(self.keys[who]), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
        options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        return tuple(self.lab.manager_argv([program, *options, *arguments]))

    def piped(self, who: str, *command: str, stdin: str = "", before: tuple[str, ...] = ()) -> str:
        """Return the output for a client without a terminal, until the other side ends."""
        argv = self.ssh(who, "-T", *before, f"cloud@{ADDRESS}", *command)
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    @contextmanager
    def terminal(self, who: str, *before: str) -> Iterator[Terminal]:
        with terminal_of(self.ssh(who, "-tt", "-e", "none", *before, f"cloud@{ADDRESS}")) as terminal:
            yield terminal

    def processes(self) -> list[str]:
        """Return the service account's processes."""
        return self.lab.exec(HOST, ["ps", "-u", "cloud", "-o", "args="], check=False).stdout.splitlines()

    def root(self, script: str) -> str:
        return self.lab.exec(HOST, ["sh", "-c", script]).stdout

    def operate(self, database: str, *words: str, typed: str = "") -> str:
        """Return the output of an operator's command that succeeds in the service account."""
        program = ("sudo", "-u", "cloud", "/srv/cloud/.venv/bin/python", "/srv/cloud/cli.py", "--database", database)
        return self.lab.exec(HOST, [*program, *words], input=typed).stdout

    def read_keys_from(self, url: str) -> None:
        """Let sshd read the students' keys from a database, as docs/many-managers.md says."""
        text = (ROOT / "docs/many-managers.md").read_text(encoding="utf-8")
        mark = "<!-- a test puts these lines where they belong, and logs in -->"
        (lines,) = re.findall(rf"^{mark}\n```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        assert PAGE_URL in lines
        lines = lines.replace(PAGE_URL, url.replace("%", "%%"))
        config = self.lab.exec(HOST, ["cat", "/etc/ssh/sshd_config"]).stdout
        config, count = re.subn(r"^ +AuthorizedKeysFile .*\n", lambda _: lines, config, flags=re.MULTILINE)
        assert count == 1
        self.lab.exec(HOST, ["tee", "/etc/ssh/sshd_config"], input=config)
        _reload_sshd(self.lab)


def _install_program(lab: Lab, more: Sequence[str]) -> None:
    """Copy the checkout to /srv/cloud, with its own interpreter where the machine's is in a user's home."""
    lab.exec(HOST, ["mkdir", "-p", "/srv/cloud/.venv/lib/python3/site-packages"])
    hidden = [".git", ".venv", ".lab", ".cache", "tests", "bench", "lab", "__pycache__", ".hypothesis", "*.previous"]
    _copy(lab, ROOT, ["."], "/srv/cloud", hidden)
    base, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = Path(yaml.__file__).parents[1]
    target = f"/srv/cloud/.venv/lib/{version}/site-packages"
    packages = sorted({path.name for pattern in (*PACKAGES, *more) for path in site.glob(pattern)})
    lab.exec(HOST, ["mkdir", "-p", target, "/srv/cloud/.venv/bin"])
    _copy(lab, site, packages, target, ["__pycache__", "tests"])
    home = base
    if not base.is_relative_to("/usr"):
        home = Path("/srv/python")
        lab.exec(HOST, ["mkdir", "-p", str(home)])
        libraries = [f"lib/{path.name}" for path in (base / "lib").glob("libpython*")]
        parts = [f"bin/{version}", f"lib/{version}", *libraries]
        _copy(lab, base, parts, str(home), ["__pycache__", "test", "site-packages", "idlelib", "ensurepip", "*.a"])
        lab.exec(HOST, ["sh", "-c", f"echo {home}/lib >/etc/ld.so.conf.d/python.conf && ldconfig"])
    lab.exec(HOST, ["ln", "-sf", f"{home}/bin/{version}", "/srv/cloud/.venv/bin/python"])
    lab.exec(HOST, ["tee", "/srv/cloud/.venv/pyvenv.cfg"], input=f"home = {home}/bin\n")


def _copy(lab: Lab, folder: Path, names: list[str], target: str, without: list[str]) -> None:
    excludes = [f"--exclude={name}" for name in without]
    packing = subprocess.Popen(["tar", "-C", str(folder), *excludes, "-cf", "-", *names], stdout=subprocess.PIPE)
    unpacking = lab.popen_in(HOST, ["tar", "-C", target, "--no-same-owner", "-xf", "-"], stdin=packing.stdout)
    assert unpacking.wait(120) == 0
    assert packing.wait(10) == 0


def _write_database(lab: Lab) -> None:
    record = yaml.safe_load(lab.database.read_text(encoding="utf-8"))
    image = Path(record["flavors"]["cirros"]["image"])
    _copy(lab, image.parent, [image.name], "/srv", [])
    record["ssh"] |= {"key_file": "~/.ssh/id_ed25519", "known_hosts": "~/.ssh/known_hosts"}
    record["flavors"] = {"cirros": record["flavors"]["cirros"] | {"image": f"/srv/{image.name}"}}
    record["users"] = {
        name: {"username": name, "password_hash": passwords.hash_password(word), "quota_vms": 4, "slices": []}
        for name, word in PASSWORDS.items()
        if name != "alice"  # the page adds her
    }
    record |= {"slices": {}, "workers": {}, "next_vm_id": 7000}
    del record["login"]
    lab.exec(HOST, ["tee", "/root/database.yaml"], input=yaml.safe_dump(record, sort_keys=False))
    lab.exec(HOST, ["tee", "/root/id_ed25519"], input=lab.key_file.read_text())


def _reload_sshd(lab: Lab) -> None:
    lab.exec(HOST, ["sh", "-c", 'kill -HUP "$(cat /run/sshd.pid)"'])


@contextmanager
def opened_door(lab: Lab, home: Path, more: Sequence[str] = ()) -> Iterator[StudentDoor]:
    """Set the service account up as the page says, for the users of `PASSWORDS`, and yield the way to it.

    `more` are further packages of Python that it needs.
    """
    commands, sshd, line, add_alice = _page()
    keys = {}
    for name in PASSWORDS:
        keys[name] = home / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", keys[name]], check=True)
        paths.caller().own(keys[name])  # the caller of sudo is the user of the client
    before = lab.exec(HOST, ["cat", "/etc/ssh/sshd_config"]).stdout
    _install_program(lab, more)
    _write_database(lab)
    lab.exec(HOST, ["sh", "-euc", f"cd /root\n{commands}"])
    lab.exec(HOST, ["sh", "-euc", add_alice], input=f"{PASSWORDS['alice']}\n")
    lines = [
        re.sub(r"ssh-ed25519 AAAA\S* alice", keys[name].with_suffix(".pub").read_text().strip(), line).replace(
            "--user=alice", f"--user={name}"
        )
        for name in PASSWORDS
    ]
    lab.exec(HOST, ["tee", "/etc/ssh/cloud_students"], input="".join(lines))
    lab.exec(HOST, ["tee", "/etc/ssh/sshd_config"], input=f"{before}{_OPEN_ENVIRONMENT}{sshd}")
    _reload_sshd(lab)
    door = StudentDoor(lab, keys)
    wait_until(lambda: "User: alice" in door.piped("alice"), "the door", 30)
    try:
        yield door
    finally:
        lab.exec(HOST, ["tee", "/etc/ssh/sshd_config"], input=before)
        _reload_sshd(lab)
        lab.exec(HOST, ["sh", "-c", _REMOVE], check=False)
        for key in keys.values():
            key.unlink()

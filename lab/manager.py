"""The manager's files in the lab's folder: its key pair, and the database.yaml that describes the lab."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from lab.command import run
from lab.paths import Caller
from lab.topology import NETWORK, SSH_PORT, SSH_USER, TRUNK, TUNNEL, LabHost, Role

TEMPLATE = Path(__file__).with_name("database.yaml.in")
# Emulated, the plain instructions of qemu64 boot this guest a fifth faster than those of `max`.
DEBIAN_FLAVOR = """\
  debian:
    {cores: 1, ram_gb: 0.25, disk_gb: 2, image: $image, user: debian, seed: nocloud, cpu_model: qemu64,
     ready: ["Cloud-init v.* finished at"]}"""


@dataclass(frozen=True)
class ManagerFiles:
    """The paths of the manager's files."""

    folder: Path

    @property
    def key(self) -> Path:
        """Return the private key of the manager; the public one has the suffix `.pub`."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Return the file in which the product remembers each host's key from the first connection."""
        return self.folder / "known_hosts"

    @property
    def database(self) -> Path:
        """Return the product's state file; the lab writes it once and never changes it again."""
        return self.folder / "database.yaml"

    def make_key(self, caller: Caller) -> None:
        """Create the key pair unless it exists."""
        if not self.key.exists():
            make_key(self.key, "cloud-repositorio lab")
        caller.own(self.key, self.key.with_name("id_ed25519.pub"))

    def write_database(
        self,
        caller: Caller,
        hosts: Sequence[LabHost],
        image: Path,
        accel: str,
        debian: Path | None = None,
        underlay: str = TRUNK,
    ) -> None:
        """Write database.yaml unless it exists: its slices must survive another `up`."""
        if self.database.exists():
            return
        workers = ", ".join(f'"{host.address}"' for host in hosts if host.role is Role.WORKER)
        ends = ", ".join(f"{host.address}: {host.data_address}" for host in hosts if host.is_node)
        text = Template(TEMPLATE.read_text()).substitute(
            workers=workers,
            network_node=NETWORK.address,
            user=SSH_USER,
            port=SSH_PORT,
            key_file=quoted(self.key),
            known_hosts=quoted(self.known_hosts),
            accel=accel,
            image=quoted(image),
            underlay=f"underlay: tunnel\ndata_addresses: {{{ends}}}" if underlay == TUNNEL else "",
            images=quoted(self.folder / "images"),
            debian="" if debian is None else Template(DEBIAN_FLAVOR).substitute(image=quoted(debian)),
            admin_hash=hashlib.sha256(b"admin").hexdigest(),
            student_hash=hashlib.sha256(b"student").hexdigest(),
        )
        new = self.database.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        caller.own(new)
        new.rename(self.database)


def quoted(path: Path) -> str:
    """Return the path as a YAML double-quoted scalar."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def make_key(path: Path, comment: str) -> None:
    """Create an ed25519 key without a passphrase; a half-written one never gets the final name.

    It is created in a separate folder, because the ssh-keygen of an `up` that was killed may still be writing.
    """
    with TemporaryDirectory(prefix=path.name, dir=path.parent) as folder:
        new = Path(folder) / "key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", new])
        new.with_suffix(".pub").rename(path.with_name(path.name + ".pub"))
        new.rename(path)

"""The content of a new host's disk: the upper layer of an overlay over the machine's own `/`.

The machine lends its programs and libraries. Its private parts (people's files, keys, logs, the state of its own
daemons) are hidden by opaque folders. Every file of /etc that names the host or its users is the host's own.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab import accounts, postgres
from lab.command import run
from lab.paths import ROOT
from lab.topology import INTERNET_ADDRESS, SSH_PORT, SSH_USER, LabHost, Role

# overlayfs hides the lower layer under a folder with this attribute (Documentation/filesystems/overlayfs.rst).
OPAQUE = "trusted.overlay.opaque"
HIDDEN = [
    *("home", "root", "srv", "mnt", "media"),
    *("var/log", "var/tmp", "var/spool", "var/lib/misc", "var/lib/openvswitch"),
    *("etc/openvswitch", "etc/ssh", "etc/sudoers.d"),
]
SUDO_RULE = f"{SSH_USER} ALL=(root) NOPASSWD: /usr/bin/sh -s\n"
SUDOERS = """\
Defaults env_reset
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""
# The machine's own PAM stack may use a directory service that the host cannot reach.
PAM_SUDO = "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n"
NSSWITCH = "passwd: files\ngroup: files\nshadow: files\ngshadow: files\nhosts: files dns\n"
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
OVS_DATABASE = "/etc/openvswitch/conf.db"


class Disk:
    """The files of one upper layer, written with the owner and mode that they have on the host."""

    def __init__(self, upper: Path) -> None:
        self.upper = upper

    def folder(self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Path:
        """Create a folder; its parents get the machine's modes, because an upper folder's mode is the visible one."""
        target = self.upper / path.lstrip("/")
        for missing in [p for p in reversed(target.parents) if p.is_relative_to(self.upper) and not p.exists()]:
            lower = Path("/") / missing.relative_to(self.upper)
            missing.mkdir()
            missing.chmod(lower.stat().st_mode & 0o7777 if lower.exists() else 0o755)
        target.mkdir(exist_ok=True)
        target.chmod(mode)
        os.chown(target, uid, gid)
        return target

    def hide(self, path: str, mode: int = 0o755) -> None:
        """Create a folder that is empty on the host, whatever the machine has there."""
        os.setxattr(self.folder(path, mode), OPAQUE, b"y")

    def write(self, path: str, text: str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        """Write a file that replaces the machine's, even where that is a symbolic link."""
        target = self.upper / path
        if not target.parent.exists():
            self.folder(str(Path(path).parent))
        target.write_text(text)
        target.chmod(mode)
        os.chown(target, uid, gid)


def install(upper: Path, host: LabHost, lab_dir: Path, authorized_key: str, host_key: str) -> None:
    """Fill an empty upper layer; raise OSError where its filesystem cannot mark a folder opaque."""
    shutil.rmtree(upper, ignore_errors=True)
    upper.mkdir(mode=0o755)
    disk = Disk(upper)
    for path in [*HIDDEN, str(ROOT), str(lab_dir)]:
        disk.hide(path)
    (upper / "root").chmod(0o700)
    (upper / "var/tmp").chmod(0o1777)
    for name, text in accounts.files(SSH_USER).items():
        disk.write(f"etc/{name}", text, 0o640 if name.endswith("shadow") else 0o644)
    disk.write("etc/hostname", f"{host.name}\n")
    # sudo looks up its own host: without this line every sudo waits for a resolver.
    disk.write("etc/hosts", f"127.0.0.1 localhost\n{host.address} {host.name}\n")
    # Without a route to the resolver a look-up fails at once; with one it is answered. It never hangs.
    disk.write("etc/resolv.conf", f"nameserver {INTERNET_ADDRESS}\noptions timeout:1 attempts:1\n")
    disk.write("etc/nsswitch.conf", NSSWITCH)
    disk.write("etc/sudoers", SUDOERS, 0o440)
    disk.write("etc/pam.d/sudo", PAM_SUDO)
    if host.is_node:
        _install_node(disk, host, authorized_key, host_key)
    elif host.role is Role.DATABASE:
        for path in postgres.MACHINES_OWN:
            disk.hide(path)
    else:
        disk.write("srv/index.html", "This is the internet of the lab.\n")


def _install_node(disk: Disk, host: LabHost, authorized_key: str, host_key: str) -> None:
    disk.write("etc/sudoers.d/cloud-repositorio", SUDO_RULE, 0o440)
    disk.write("etc/ssh/ssh_host_ed25519_key", host_key, 0o600)
    disk.write(
        "etc/ssh/sshd_config",
        f"Port {SSH_PORT}\nListenAddress {host.address}\nHostKey /etc/ssh/ssh_host_ed25519_key\n"
        "UsePAM no\nSubsystem sftp internal-sftp\n",
    )
    owner = {"uid": accounts.UID, "gid": accounts.GID}
    disk.folder(f"home/{SSH_USER}", 0o755, **owner)
    disk.folder(f"home/{SSH_USER}/.ssh", 0o700, **owner)
    disk.write(f"home/{SSH_USER}/.ssh/authorized_keys", authorized_key, 0o600, **owner)
    disk.folder("var/log/openvswitch", 0o750)
    run(["ovsdb-tool", "create", disk.upper / OVS_DATABASE.lstrip("/"), OVS_SCHEMA])

"""Unusable hosts, each for another cause, with real sshd, PAM, shells and sudo: the doctor names the cause."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from lab import Lab, paths
from tests.lab.test_failures import foreign_process, replaced, shell
from tests.support.lab.program import run_program
from tests.support.lab.visitor import HOSTS, IMAGES, Guest, Menu, empty_database
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

CONFIG, HOME = "/etc/ssh/sshd_config", "/home/ubuntu"
READ_AGAIN = (
    "pid=$(cat /run/sshd.pid); rm /run/sshd.pid; kill -HUP $pid; "
    "for n in $(seq 200); do [ ! -s /run/sshd.pid ] || exit 0; sleep 0.05; done; exit 1"
)
"""A condition that holds once sshd listens: then it has written its pid."""


class Case(NamedTuple):
    """One cause: shell scripts that break and repair the host, and the expected words."""

    breaks: str
    repairs: str
    says: str


def file(path: str, change: str, says: str) -> Case:
    """Return a case that replaces a file for a while; `change` edits it in place."""
    kept = f"/var/tmp/{Path(path).name}"
    return Case(f"touch {path}; cp -p {path} {kept}; {change}", f"mv {kept} {path}", says)


def sshd(line: str, says: str) -> Case:
    """Return a case with another first line in sshd's configuration: the first setting counts."""
    case = file(CONFIG, f"sed -i '1i {line}' {CONFIG}; {READ_AGAIN}", says)
    return case._replace(repairs=f"{case.repairs}; {READ_AGAIN}")


def moved(says: str) -> Case:
    """Return a case with another port instead of the usual one: ports of a configuration add up."""
    case = file(CONFIG, f"sed -i 's/^Port 22$/Port 2222/' {CONFIG}; {READ_AGAIN}", says)
    return case._replace(repairs=f"{case.repairs}; {READ_AGAIN}")


def start_file(line: str, says: str) -> Case:
    """Return a case with another line that bash reads before it runs sshd's command."""
    return file(f"{HOME}/.bashrc", f"echo '{line}' >{HOME}/.bashrc", says)


def login_shell(program: str, says: str) -> Case:
    return file("/etc/passwd", f"sed -i '/^ubuntu:/s#[^:]*$#{program}#' /etc/passwd", says)


def expired(says: str) -> Case:
    """Return a case in which PAM demands a new password, which no program can type."""
    pam, shadow = sshd("UsePAM yes", says), file("/etc/shadow", "sed -i '/^ubuntu:/s/:19000:/:0:/' /etc/shadow", says)
    return Case(f"{shadow.breaks}; {pam.breaks}", f"{shadow.repairs}; {pam.repairs}", says)


ENDED = "the login shell of ubuntu there ended with status {} before it ran a command, and says {}; "
CASES = {
    "TCP": moved("does not answer: port 22 is closed (Connection refused); does sshd run there"),
    "key refused": file(
        f"{HOME}/.ssh/authorized_keys",
        f": >{HOME}/.ssh/authorized_keys",
        "it refuses user ubuntu with the key *; is its public key in ~ubuntu/.ssh/authorized_keys there?",
    ),
    "more than a key": sshd(
        "AuthenticationMethods publickey,password",
        "cannot be used: it wants more than a key of user ubuntu (password)",
    ),
    "channel": sshd("MaxSessions 0", "cannot be used: it let user ubuntu in, and opens no session"),
    "expired password": expired(
        ENDED.format(1, '"Password change required but no TTY available."') + "renew the password of ubuntu there"
    ),
    "start file ends the shell": start_file(
        "exit 1", ENDED.format(1, "nothing") + "does a start file such as ~/.bashrc"
    ),
    "start file waits": start_file(
        "sleep 60", "the login shell of ubuntu ran no command within 4 s (ssh: timeouts: silence); do its start files"
    ),
    "nologin": login_shell(
        "/usr/sbin/nologin",
        ENDED.format(1, '"This account is currently not available."') + "give ubuntu a shell",
    ),
    "sftp only": sshd(
        "ForceCommand internal-sftp",
        ENDED.format(1, '"This service allows sftp connections only."') + "ubuntu may only copy files there",
    ),
    "/etc/nologin": Case(
        "echo back on Monday >/etc/nologin",
        "rm /etc/nologin",
        ENDED.format(254, '"back on Monday"') + "/etc/nologin there",
    ),
    "no sudo": Case(
        "mv /usr/bin/sudo /usr/bin/sudo.away",
        "mv /usr/bin/sudo.away /usr/bin/sudo",
        'sudo cannot be run there: "bash: line 1: exec: sudo: not found"; install it',
    ),
    "greeting on standard error": start_file("echo hello; echo warning: be careful >&2", ""),
}
NAMES = list(CASES)
GROUPS = [NAMES[start : start + len(HOSTS)] for start in range(0, len(NAMES), len(HOSTS))]


def with_timeouts(lab: Lab, home: Path, name: str, **timeouts: float) -> Path:
    """Write a copy of the lab's database with these timeouts."""
    return empty_database(lab, home / f"{name}.yaml", lambda record: record["ssh"].update(timeouts=timeouts))


def findings(lab: Lab, database: Path) -> dict[str, str]:
    """Return the doctor's words about unusable hosts, by their names in the lab."""
    found = json.loads(run_program(lab, "doctor", "--json", database=database).stdout)["findings"]
    return {HOSTS[f["host"]]: f["sentence"] for f in found if f["code"] in {"host-unreachable", "host-unusable"}}


@pytest.mark.parametrize("group", GROUPS, ids=[", ".join(group) for group in GROUPS])
def test_the_cause_follows_from_the_failed_stage(lab: Lab, home: Path, group: list[str]) -> None:
    """Break each host in another way, all at once."""
    database = with_timeouts(lab, home, "cases", connect=2, silence=4)
    with ExitStack() as stack:
        for host, name in zip(HOSTS.values(), group, strict=False):
            stack.enter_context(shell(lab, host, CASES[name].breaks, CASES[name].repairs))
        found = findings(lab, database)
    for host, name in zip(HOSTS.values(), group, strict=False):
        said, first, *rest = found.get(host, ""), *CASES[name].says.split("*")
        assert first in said, said
        assert bool(first) == bool(said), said
        for part in rest:
            assert part in said, said
    assert not findings(lab, database)


@contextmanager
def dead_name_server(lab: Lab, host: str) -> Iterator[None]:
    """Start a name server that accepts questions and never answers."""
    lines = r"nameserver 127.0.0.1\noptions timeout:3 attempts:1\n"
    case = file("/etc/resolv.conf", f"printf '{lines}' >/etc/resolv.conf", "")
    with foreign_process(lab, host, "socat", "-u", "UDP-RECV:53,bind=127.0.0.1", "OPEN:/dev/null"):
        lab.exec(host, ["sh", "-c", "for n in $(seq 100); do ss -Hlun | grep -q :53 && exit; sleep 0.05; done; exit 1"])
        with shell(lab, host, case.breaks, case.repairs):
            yield


def test_a_wait_for_a_name_server_is_reported_and_longer_timeouts_help(lab: Lab, home: Path) -> None:
    use_dns = sshd("UseDNS yes", "")
    nameless = file("/etc/hosts", "echo 127.0.0.1 localhost >/etc/hosts", "")
    short = with_timeouts(lab, home, "short", connect=1, silence=2)
    longer = with_timeouts(lab, home, "longer", connect=15, silence=30)
    with ExitStack() as stack:
        for host, case in (("worker1", use_dns), ("worker2", nameless)):
            stack.enter_context(dead_name_server(lab, host))
            stack.enter_context(shell(lab, host, case.breaks, case.repairs))
        found = findings(lab, short)
        assert "it has not let user ubuntu in within 1 s (ssh: timeouts: connect); let its sshd not" in found["worker1"]
        assert "sudo there started no shell within 2 s (ssh: timeouts: silence)" in found["worker2"]
        assert sorted(found) == ["worker1", "worker2"]
        assert not findings(lab, longer)


def test_a_key_that_others_may_read_is_found_by_the_doctor(lab: Lab, home: Path) -> None:
    database = with_timeouts(lab, home, "key")
    key = Path(yaml.safe_load(database.read_text())["ssh"]["key_file"])
    key.chmod(0o644)
    try:
        found = findings(lab, database)
    finally:
        key.chmod(0o600)
    assert sorted(found) == sorted(HOSTS.values())
    assert all(f"is open to others (mode 0644), so ssh refuses it: chmod 600 {key}" in said for said in found.values())


# --- KVM --------------------------------------------------------------------------------------------------------------

QEMU = "/usr/bin/qemu-system-x86_64"
NESTED = """case "$*" in *"-accel kvm"*)
  echo "qemu: kvm_buf_set_msrs: Assertion \\`ret == cpu->kvm_msr_buf->nmsrs' failed." >&2; exit 134;;
esac
exec qemu-system-x86_64.real "$@\""""
LATE = 'case "$*" in *isa-debug-exit*) exit 99;; esac\n' + NESTED
KVM = Case(
    f"[ -e /dev/kvm ] || {{ : >/dev/kvm; touch /var/tmp/kvm; }}; chmod 666 /dev/kvm; rm -f {IMAGES}/.accel",
    f"[ ! -e /var/tmp/kvm ] || rm /dev/kvm /var/tmp/kvm; rm -f {IMAGES}/.accel",
    "",
)


@contextmanager
def kvm_runs_no_guest(lab: Lab, script: str) -> Iterator[None]:
    """Make QEMU on both workers fail with an assertion when it uses KVM, which still opens."""
    with ExitStack() as stack:
        for worker in ("worker1", "worker2"):
            stack.enter_context(shell(lab, worker, KVM.breaks, KVM.repairs))
            stack.enter_context(replaced(lab, worker, QEMU, script))
        yield


def accelerated(lab: Lab, home: Path, accel: str, first_id: int) -> Path:
    path = with_timeouts(lab, home, accel)
    record = yaml.safe_load(path.read_text())
    record["hypervisor"]["accel"], record["next_vm_id"] = accel, first_id
    path.write_text(yaml.safe_dump(record, sort_keys=False))
    return path


def test_kvm_that_opens_and_runs_no_guest_is_not_used_where_auto_may_choose(lab: Lab, home: Path) -> None:
    """Use the machine's own KVM, then one that runs no guest: the guest boots with both."""
    database = accelerated(lab, home, "auto", 4000)
    menu = Menu(lab, "admin", database)
    slice_id = menu.create_slice("accelerated")
    menu.add_vm(slice_id, "one")
    menu.deploy(slice_id)
    Guest(lab, slice_id, menu.topology(slice_id)["one"])
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(database), "doctor", "--json"]
    found = json.loads(lab.run(argv, check=False).stdout)["findings"]
    assert not [finding for finding in found if finding["slice"] == slice_id]
    menu.delete(slice_id)
    with kvm_runs_no_guest(lab, NESTED):
        slice_id = menu.create_slice("nested")
        menu.add_vm(slice_id, "one")
        menu.deploy(slice_id)
        vm = menu.topology(slice_id)["one"]
        assert vm.running
        assert lab.exec(vm.worker, ["cat", f"{IMAGES}/.accel"]).stdout.split()[1] == "tcg"
        menu.delete(slice_id)
    assert menu.close() == 0


@pytest.mark.parametrize(
    ("accel", "script", "says"),
    [
        (
            "kvm",
            NESTED,
            r"accelerator: KVM opens there and runs no guest .*; set hypervisor: \{accel: tcg\}; nothing was",
        ),
        (
            "auto",
            LATE,
            (
                r"start of the guests: one ended at once: qemu: kvm_buf.* failed.; "
                r"if KVM cannot run guests there, set hypervisor:"
            ),
        ),
    ],
)
def test_a_failing_kvm_is_reported_with_the_setting_that_helps(
    lab: Lab, home: Path, accel: str, script: str, says: str
) -> None:
    menu = Menu(lab, "admin", accelerated(lab, home, accel, {"kvm": 5000, "auto": 6000}[accel]))
    slice_id = menu.create_slice("asserting")
    menu.add_vm(slice_id, "one")
    with kvm_runs_no_guest(lab, script):
        shown = menu.choose(6, slice_id)
    assert re.search(says, shown), shown
    menu.delete(slice_id)
    assert menu.close() == 0


def test_the_users_login_shell_may_be_tcsh(lab: Lab, home: Path) -> None:
    """Copy an image and deploy a VM on workers with tcsh."""
    database, image = with_timeouts(lab, home, "tcsh"), home / "tcsh.qcow2"
    image.write_bytes(lab.image.read_bytes())
    paths.caller().own(image)
    record = yaml.safe_load(database.read_text())
    record["flavors"]["cirros"]["image"], record["next_vm_id"] = str(image), 7000
    database.write_text(yaml.safe_dump(record, sort_keys=False))
    tcsh = login_shell("/usr/bin/tcsh", "")
    with ExitStack() as stack:
        for worker in ("worker1", "worker2"):
            stack.enter_context(shell(lab, worker, tcsh.breaks, f"{tcsh.repairs}; rm -f {IMAGES}/*tcsh.qcow2*"))
        menu = Menu(lab, "admin", database)
        slice_id = menu.create_slice("shells")
        menu.add_vm(slice_id, "one")
        menu.deploy(slice_id)
        menu.delete(slice_id)
        assert menu.close() == 0


def test_a_host_certificate_of_a_revoked_authority_is_refused(lab: Lab, home: Path) -> None:
    """Refuse it like OpenSSH, though no line names the host's plain key."""
    database, known_hosts = with_timeouts(lab, home, "revoked"), home / "known_hosts"
    record = yaml.safe_load(database.read_text())
    record["ssh"]["known_hosts"] = str(known_hosts)
    database.write_text(yaml.safe_dump(record, sort_keys=False))
    certify = (
        "set -e; cd /var/tmp; ssh-keygen -q -t ed25519 -N '' -f ca; "
        "ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key >host.pub; "
        "ssh-keygen -q -s ca -h -I id -n 10.0.10.1 host.pub"
    )
    case = sshd("HostCertificate /var/tmp/host-cert.pub", "")
    removes = f"rm -f /var/tmp/ca* /var/tmp/host*; {case.repairs}"
    with shell(lab, "worker1", f"{certify}; {case.breaks}", removes):
        kind, blob, *_ = lab.exec("worker1", ["cat", "/var/tmp/ca.pub"]).stdout.split()
        known_hosts.write_text(f"@revoked * {kind} {blob}\n")
        paths.caller().own(known_hosts)
        found = findings(lab, database)
        assert list(found) == ["worker1"]
        assert f"is revoked in {known_hosts}, line 1" in found["worker1"]
        known_hosts.write_text(f"@cert-authority * {kind} {blob}\n")
        assert not findings(lab, database)

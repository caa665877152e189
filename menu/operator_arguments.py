"""Define the command lines of the commands for operators only."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from core.inventory import MAX_SLICES
from inspection.codes import CODES
from menu.authorized_keys import add_authorized_keys
from menu.completion import NAME, SHELLS
from menu.image_arguments import add_image_commands
from menu.words import SLICE_HELP, add_actor, add_json, number_up_to, slice_word
from models import ADMIN, MAX_QUOTA, STUDENT

if TYPE_CHECKING:
    from menu.words import Commands

DEFAULT_QUOTA = 10
DEFAULT = "default"


def add_operator_commands(commands: Commands) -> None:
    """Add the commands for operators only."""
    user = commands.add_parser("user", help="manage the accounts", description="Manage the accounts.")
    _add_actions(user.add_subparsers(dest="action", metavar="ACTION", required=True))
    _add_log(commands)
    _add_looks(commands)
    add_image_commands(commands)
    _add_host(commands.add_parser("host", help="manage the workers", description="Manage the workers."))
    _add_resume(commands)
    add_authorized_keys(commands)
    about = "Move the state between a file and a PostgreSQL database."
    _add_database(commands.add_parser("database", help="move the state to another place", description=about))
    _add_completion(commands)
    _add_names(commands)


def _add_completion(commands: Commands) -> None:
    completion = commands.add_parser(
        "completion",
        help="write completion for a shell",
        description="Write a script with which a shell completes commands and options. Load it by "
        "`source <(python3 cli.py completion bash)`, for instance in ~/.bashrc.",
    )
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help=" or ".join(SHELLS))
    completion.add_argument(
        "--for",
        metavar="NAME",
        dest="name",
        type=_command_name,
        default=NAME,
        help=f"the word that calls the program, such as an alias (default: {NAME})",
    )


def _add_names(commands: Commands) -> None:
    names = commands.add_parser(
        "names",
        help="list names for completion",
        description="List the names of slices, or of the VMs of a slice, one a line. The scripts of `completion` call "
        "it. Exit status: 0 listed, 1 refused, 2 wrong words.",
    )
    names.add_argument("slice", metavar="SLICE", nargs="?", type=slice_word, help=SLICE_HELP)
    add_actor(names, argparse.SUPPRESS)


def _command_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError("the name of a command has letters, digits, dots, hyphens and underscores")
    return text


def _add_log(commands: Commands) -> None:
    log = commands.add_parser("log", help="show the audit log", description="Show the audit log, oldest first.")
    log.add_argument("--user", metavar="NAME", dest="of", help="only actions of this user")
    log.add_argument("--slice", metavar="N", type=_count, help="only actions on this slice")
    log.add_argument("--last", metavar="N", type=_count, help="only the last N entries")
    log.add_argument("--json", action="store_true", help="one line of JSON per entry")


def _add_host(host: argparse.ArgumentParser) -> None:
    actions = host.add_subparsers(dest="action", metavar="ACTION", required=True)
    forget = actions.add_parser(
        "forget",
        help="write off a worker that is dead for good",
        description="Write off a worker that is dead for good: its VMs lose their disks and are placed on other "
        "workers, and deletions no longer wait for it. Exit status: 0 done, 1 refused, 3 something is left.",
    )
    forget.add_argument("address", metavar="ADDRESS", help="the worker's address; it may be missing from workers_list")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    forget.add_argument("--dry-run", action="store_true", help="only show the losses")
    key = actions.add_parser(
        "forget-key",
        help="forget the key of a host that was installed again",
        description="Forget the key of a host that was installed again: the next one is remembered. Exit status: 0 "
        "done, 1 refused.",
    )
    key.add_argument("address", metavar="ADDRESS", help="the host's address")


def _add_resume(commands: Commands) -> None:
    resume = commands.add_parser(
        "resume",
        help="end changes that managers left when they died",
        description="Finish the changes that no session works on, as a login offers it; made for a timer. Exit status: "
        "0 done, 1 refused, 3 something is left.",
    )
    resume.add_argument("--take-back", action="store_true", help="take back what can be taken back, instead")
    resume.add_argument(
        "--raise-fences",
        action="store_true",
        help="only this, after an older copy of a PostgreSQL database was restored: hosts accept its managers again",
    )


def _add_database(database: argparse.ArgumentParser) -> None:
    actions = database.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser(
        "export",
        help="write the state as a state file",
        description="Write the state as a state file, with its audit log beside it. It holds hashes of passwords, and "
        "the passwords of VMs.",
    )
    export.add_argument("file", metavar="FILE", nargs="?", type=Path, help="a new file (default: standard output)")
    bring = actions.add_parser(
        "import",
        help="bring a state file into the empty place that --database names",
        description="Bring a state file into the empty place that --database names, such as a PostgreSQL database. Its "
        "audit log, its counts of wrong passwords and this manager's known host keys come along.",
    )
    bring.add_argument("file", metavar="FILE", type=Path, help="a state file")
    bring.add_argument(
        "--settings", action="store_true", help="only the settings and flavors, into a place that has a state already"
    )
    bring.add_argument("--dry-run", action="store_true", help="only check the file, and show what it holds")


def _add_looks(commands: Commands) -> None:
    codes = "\n".join(f"  {code:20}  {meaning}: {advice}" for code, (_, meaning, advice) in CODES.items())
    doctor = commands.add_parser(
        "doctor",
        help="compare the hosts with the database",
        description="Compare the hosts with the database. Exit status: 0 no finding, 1 findings, 2 no facts of a host.",
        epilog=f"codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--fix", action="store_true", help="remove objects that carry our mark and belong to no slice")
    doctor.add_argument("--yes", action="store_true", help="with --fix: do not ask")
    prove = commands.add_parser(
        "prove",
        help="prove from the hosts that slices are kept apart",
        description="Prove from the hosts, without touching guests, that slices are kept apart. Exit status: 0 it "
        "holds, 1 there is a breach, 2 no facts of a host.",
    )
    for command in (doctor, prove):
        command.add_argument("--json", action="store_true", help="as one line of JSON")


def _add_actions(actions: Commands) -> None:
    asked = "The password is asked for twice on a terminal. Otherwise it is one line of standard input."
    quota = f"the number of VMs the user may have, 0 to {MAX_QUOTA}"
    add = actions.add_parser("add", help="add a user", description=f"Add a user. {asked}")
    passwd = actions.add_parser("passwd", help="change a password", description=f"Change a password. {asked}")
    change = actions.add_parser("quota", help="change a quota", description="Change a user's quota of VMs.")
    slices = actions.add_parser(
        "slices", help="change the number of slices", description="Change the number of slices a user may have."
    )
    role = actions.add_parser(
        "role",
        help="change a role",
        description="Change the role of a user: students work on own slices, admins on all.",
    )
    remove = actions.add_parser("remove", help="remove a user", description="Remove a user who owns no slice.")
    listed = actions.add_parser("list", help="list the users", description="List the users, one per line.")
    add_json(listed, "{users: [{username, role, used_vms, quota_vms, slices, quota_slices}]}")
    for action in (add, passwd, change, slices, role, remove):
        action.add_argument("name", metavar="NAME", help="the user's name")
    add.add_argument(
        "--quota", metavar="N", type=_quota, default=DEFAULT_QUOTA, help=f"{quota} (default: {DEFAULT_QUOTA})"
    )
    add.add_argument("--admin", action="store_true", help="the user may see and change all slices")
    role.add_argument("role", metavar="ROLE", choices=(STUDENT, ADMIN), help=f"{ADMIN} or {STUDENT}")
    slices.add_argument(
        "slices",
        metavar="N",
        type=_slices,
        help=f"the number of slices, 0 to {MAX_SLICES}, or {DEFAULT}: that of the role",
    )
    change.add_argument("quota", metavar="N", type=_quota, help=quota)


def _count(text: str) -> int:
    return number_up_to(text, 10**9, "write a whole number")


def _slices(text: str) -> int | None:
    if text == DEFAULT:
        return None
    return number_up_to(text, MAX_SLICES, f"the number of slices is 0 to {MAX_SLICES}, or {DEFAULT}")


def _quota(text: str) -> int:
    return number_up_to(text, MAX_QUOTA, f"a quota is a whole number from 0 to {MAX_QUOTA}")

"""Define the command line: the menu's options and the operator's commands."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from core.formats import is_valid_name
from core.inventory import MAX_SLICES
from inspection.codes import CODES
from menu.plans import Depth
from menu.prompts import whole_number
from menu.screen import clean
from models import ADMIN, MAX_QUOTA, STUDENT

_SLICE_HELP = "its id, its name, or the beginning of its name"
_VM_HELP = "the VM's id, its name, or the beginning of its name"
IMPORT_TOOLS = ("containerlab", "netlab", "cml", "gns3", "kathara")
TEMPLATE_FORMS = "line:N, ring:N, star:N, mesh:N, tree:DEPTH,FANOUT, lan:N, leaf-spine:SPINES,LEAVES, chain-of-lans:N"
INTERNET = ("all", "none", "first")
GRAPH_FORMATS = ("text", "mermaid", "dot", "svg")
DEFAULT_QUOTA = 10
DEFAULT = "default"
USAGE = 2
"""The exit status of a wrong command line."""


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one sentence, and accepts no option by its beginning."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with the status of a wrong command line."""
        self.exit(USAGE, f"Error: {clean(message)}; {self.prog} --help says more\n")


def parse(words: Sequence[str] | None, default_database: Path) -> argparse.Namespace:
    """Return the arguments of `python3 cli.py`, or exit where they are wrong.

    Each command works for operators, so a restricted session may run none.
    """
    whole = parser(default_database)
    args = whole.parse_args(words)
    if args.restricted_user and args.command:
        whole.error(f"--user opens the menu and takes no command; leave out --user or {args.command}")
    return args


def parser(default_database: Path) -> Parser:
    """Return the parser of `python3 cli.py`."""
    whole = Parser(
        prog="cli.py",
        description="Design, deploy, use and delete slices of virtual machines from a numbered menu.",
        epilog="Without a command the menu opens. Its prompts and results are plain lines when input or output is no "
        "terminal, so that a session can be scripted.",
    )
    whole.add_argument(
        "--database",
        metavar="FILE",
        type=_database,
        default=default_database,
        help="the state file (default: database.yaml in this folder, or else beside cli.py)",
    )
    whole.add_argument(
        "--user",
        metavar="NAME",
        type=_name,
        dest="restricted_user",
        help="the menu for this user only, without a command; a forced command of sshd (docs/students-over-ssh.md)",
    )
    _add_actor(whole, ADMIN)
    commands = whole.add_subparsers(dest="command", metavar="COMMAND")
    _add_views(commands)
    _add_plan(commands)
    _add_changes(commands)
    _add_slice_files(commands)
    user = commands.add_parser("user", help="manage the accounts", description="Manage the accounts.")
    _add_actions(user.add_subparsers(dest="action", metavar="ACTION", required=True))
    log = commands.add_parser("log", help="show the audit log", description="Show the audit log, oldest first.")
    log.add_argument("--user", metavar="NAME", dest="of", help="only actions of this user")
    log.add_argument("--slice", metavar="N", type=_count, help="only actions on this slice")
    log.add_argument("--last", metavar="N", type=_count, help="only the last N entries")
    log.add_argument("--json", action="store_true", help="one line of JSON per entry")
    _add_looks(commands)
    _add_host(commands.add_parser("host", help="manage the workers", description="Manage the workers."))
    return whole


def _add_actor(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--as",
        metavar="USER",
        type=_name,
        dest="actor",
        default=default,
        help=f"the user for whom a command about slices works (default: {ADMIN})",
    )


def _add_views(commands: argparse._SubParsersAction[Parser]) -> None:
    shown = "Exit status: 0 shown, 1 refused, 2 wrong words."
    listed = commands.add_parser(
        "list", help="list the slices", description=f"List the slices of a user, and all slices for an admin. {shown}"
    )
    show = commands.add_parser(
        "show",
        help="show a slice",
        description="Show a slice with its VMs, interfaces and addresses, and what does not run. --json shows its "
        f"record of the state file instead, and looks at no host. {shown}",
    )
    show.add_argument("slice", metavar="SLICE", type=_slice, help=_SLICE_HELP)
    show.add_argument("--secrets", action="store_true", help="with the VNC passwords")
    quota = commands.add_parser(
        "quota",
        help="show quota and resources",
        description=f"Show a user's quota, the workers as they are now, and the flavors. {shown}",
    )
    for command in (listed, show, quota):
        command.add_argument("--json", action="store_true", help="as one line of JSON")
        _add_actor(command, argparse.SUPPRESS)


def _add_changes(commands: argparse._SubParsersAction[Parser]) -> None:
    done = (
        "Progress is on standard error. Exit status: 0 done, 1 refused or failed, 2 wrong words, 3 done with a warning."
    )
    deploy = commands.add_parser(
        "deploy",
        help="deploy a slice",
        description=f"Deploy a slice, or leave every host as it was. Ctrl-C rolls back what was done. {done}",
    )
    repair = commands.add_parser(
        "repair",
        help="repair a running slice",
        description=f"Bring back what is missing of a running slice, and leave the rest alone. {done}",
    )
    delete = commands.add_parser(
        "delete",
        help="delete a slice",
        description=f"Delete a slice with its VMs and disks, after a question. {done}",
    )
    for command in (deploy, repair, delete):
        command.add_argument("slice", metavar="SLICE", type=_slice, help=_SLICE_HELP)
        command.add_argument("--dry-run", action="store_true", help="only show the plan")
    delete.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
    console = commands.add_parser(
        "console",
        help="open a VM's serial console",
        description="Join this terminal with a VM's serial console. Exit status: 0 left, 1 refused or failed, "
        "2 wrong words.",
    )
    console.add_argument("slice", metavar="SLICE", type=_slice, help=_SLICE_HELP)
    console.add_argument("vm", metavar="VM", type=_vm, help=_VM_HELP)
    for command in (deploy, repair, delete, console):
        _add_actor(command, argparse.SUPPRESS)


def _add_plan(commands: argparse._SubParsersAction[Parser]) -> None:
    plan = commands.add_parser(
        "plan",
        help="show what a deployment does",
        description="Show what a deployment of a slice does, and how it is undone; nothing is changed. Without an "
        "option: a line for each step that makes something. Exit status: 0 shown, 1 refused, 2 wrong words.",
    )
    plan.add_argument("slice", metavar="SLICE", type=_slice, help=_SLICE_HELP)
    depth = plan.add_mutually_exclusive_group()
    for each, meaning in (
        (Depth.COMMANDS, "the commands as well, to be read or copied"),
        (Depth.SCRIPTS, "all of it: also what commands read, and the text of each script"),
    ):
        depth.add_argument(f"--{each.value}", action="store_const", const=each.value, dest="depth", help=meaning)
    _add_actor(plan, argparse.SUPPRESS)
    plan.set_defaults(depth=Depth.TITLES.value)


def _add_slice_files(commands: argparse._SubParsersAction[Parser]) -> None:
    validate = commands.add_parser(
        "validate",
        help="check a slice file",
        description="Check a slice file against the rules, and against the flavors and networks of this cloud; nothing "
        "is changed. All faults are shown, each with its line. Exit status: 0 valid, 1 faults, 2 wrong words.",
    )
    validate.add_argument("file", metavar="FILE", type=_file, help="a file that ends in .yaml or .yml, or - for input")
    create = commands.add_parser(
        "create",
        help="create a slice from a slice file or a template",
        description="Create a slice with all VMs, disks and links of a slice file or a template, or nothing of it. "
        "What it needs is said first, on standard error, as is the progress. "
        "Exit status: 0 created, 1 refused or failed, 2 wrong words, 3 created with something left out.",
    )
    source = create.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "file", metavar="FILE", nargs="?", type=_file, help="a file that ends in .yaml or .yml, or - for input"
    )
    source.add_argument("--template", metavar="KIND:SIZE", help=f"a template instead of a file: {TEMPLATE_FORMS}")
    create.add_argument("--name", metavar="NAME", type=_slice_name, help="the slice's name; a template needs one")
    create.add_argument("--flavor", metavar="NAME", help="the flavor of a template's VMs (default: the first one)")
    create.add_argument("--internet", choices=INTERNET, help="a template's VMs with internet access (default: none)")
    create.add_argument("--json", action="store_true", help="the slice's id as JSON")
    create.add_argument("--dry-run", action="store_true", help="only check it, and say what it needs")
    export = commands.add_parser(
        "export",
        help="write a slice as a slice file",
        description="Write the design of a slice as a slice file, without ids, owners, secrets and hosts. "
        "Exit status: 0 written, 1 refused, 2 wrong words, 3 written with names replaced.",
    )
    export.add_argument("slice", metavar="SLICE", type=_slice, help=_SLICE_HELP)
    convert = commands.add_parser(
        "convert",
        help="turn a topology of another tool into a slice file",
        description="Read a topology of containerlab, netlab, CML, GNS3 or Kathara and write it as a slice file. What "
        "is left out is said on standard error, and stays in the file as comments. Nothing in the file is run. "
        "Exit status: 0 written, 1 refused, 2 wrong words, 3 written with something left out or replaced.",
    )
    endings = "a file that ends in .yaml, .yml, .gns3 or .conf, or - for input"
    convert.add_argument("file", metavar="FILE", type=_foreign_file, help=endings)
    convert.add_argument(
        "--from", dest="tool", choices=IMPORT_TOOLS, help="where the file comes from (default: its content tells)"
    )
    graph = commands.add_parser(
        "graph",
        help="show the picture of a slice",
        description="Show the VMs, links and addresses of a slice: as a wiring diagram, or for another program. "
        "Exit status: 0 shown, 1 refused, 2 wrong words.",
    )
    graph.add_argument("slice", metavar="SLICE", type=_slice, help=_SLICE_HELP)
    graph.add_argument(
        "--format", choices=GRAPH_FORMATS, default="text", help="text (default), mermaid, dot, or svg (needs Graphviz)"
    )
    for command in (validate, create, export, convert, graph):
        _add_actor(command, argparse.SUPPRESS)


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


def _add_looks(commands: argparse._SubParsersAction[Parser]) -> None:
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


def _add_actions(actions: argparse._SubParsersAction[Parser]) -> None:
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
    actions.add_parser("list", help="list the users", description="List the users, one per line.")
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


def _database(text: str) -> Path:
    if os.path.isdir(text or "."):  # noqa: PTH112 - Path.is_dir fails below a folder that may not be read
        raise argparse.ArgumentTypeError("a folder is no state file; name the file, such as database.yaml")
    return Path(text)


def _name(text: str) -> str:
    if not is_valid_name(text):
        raise argparse.ArgumentTypeError("a user name has 1 to 32 letters, digits, hyphens and underscores")
    return text


def _slice(text: str) -> str:
    if not is_valid_name(text):
        raise argparse.ArgumentTypeError("a slice is its id, its name, or the beginning of its name")
    return text


def _vm(text: str) -> str:
    if not is_valid_name(text):
        raise argparse.ArgumentTypeError("a VM is its id, its name, or the beginning of its name")
    return text


def _slice_name(text: str) -> str:
    if not is_valid_name(text) or not text[0].isalpha():
        raise argparse.ArgumentTypeError("a slice's name is a letter, then at most 31 letters, digits, - and _")
    return text


def _file(text: str) -> str:
    if text != "-" and not text.endswith((".yaml", ".yml")):
        raise argparse.ArgumentTypeError("a slice file ends in .yaml or .yml; - reads it from standard input")
    return text


def _foreign_file(text: str) -> str:
    if text != "-" and not text.endswith((".yaml", ".yml", ".gns3", ".conf")):
        raise argparse.ArgumentTypeError("a topology ends in .yaml, .yml, .gns3 or .conf; - reads standard input")
    return text


def _count(text: str) -> int:
    return _number(text, 10**9, "write a whole number")


def _slices(text: str) -> int | None:
    if text == DEFAULT:
        return None
    return _number(text, MAX_SLICES, f"the number of slices is 0 to {MAX_SLICES}, or {DEFAULT}")


def _quota(text: str) -> int:
    return _number(text, MAX_QUOTA, f"a quota is a whole number from 0 to {MAX_QUOTA}")


def _number(text: str, high: int, rule: str) -> int:
    """Return a number from 0 to `high`. Zeros before it are refused, as in the file: YAML reads 010 as 8."""
    number = whole_number(text, 0, high)
    if number is None:
        raise argparse.ArgumentTypeError(rule)
    if text != str(number):
        raise argparse.ArgumentTypeError(f"{rule}; write {text} without the zeros before it")
    return number

"""`python3 -m lab up | down | status | exec HOST COMMAND... | run COMMAND... | image [debian]`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from lab import Lab, LabError, guest, paths, topology
from lab.command import SYSTEM_ENVIRONMENT

TERMINAL_VARIABLES = ("TERM", "COLORTERM")


def parse(words: list[str]) -> argparse.Namespace:
    """Parse the command line; words after HOST or `run` belong to the command, options included."""
    parser = argparse.ArgumentParser(prog="python3 -m lab", description=sys.modules["lab"].__doc__)
    parser.add_argument("--name", default="default", help="which lab; several can be up side by side")
    parser.add_argument("--workers", type=int, default=2, help="how many workers `up` brings up")
    parser.add_argument(
        "--managers", type=int, default=1, help="how many managers `up` brings up; several share a PostgreSQL database"
    )
    parser.add_argument(
        "--underlay",
        choices=topology.UNDERLAYS,
        default=topology.TRUNK,
        help="what the data network of a new lab carries: VLANs, or IP packets only (%(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="bring up whatever is not up")
    commands.add_parser("down", help="end the lab and delete its hosts' disks and its database.yaml")
    commands.add_parser("status", help="one line per host; exit status 1 when one is not up")
    image = commands.add_parser("image", help="build a guest image if need be and print its path")
    image.add_argument("guest", nargs="?", choices=("small", "debian"), default="small", help="which one (%(default)s)")
    inside = commands.add_parser("exec", help="run a command inside a host, as root")
    inside.add_argument("host")
    inside.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    run = commands.add_parser("run", help="run a command in a manager's network, as yourself")
    run.add_argument("--manager", type=int, default=1, help="which manager (%(default)s)")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    arguments = parser.parse_args(words)
    if "words" in arguments and not arguments.words:
        parser.error("COMMAND is missing")
    return arguments


def become_root() -> None:
    """Start this program again under sudo, with the caller's environment and PATH kept for `run`."""
    if os.geteuid() == 0:
        return
    os.environ[paths.CALLER_PATH_VARIABLE] = os.environ.get("PATH", os.defpath)
    # -B: root's byte code must not end up in the user's project.
    os.execvp("sudo", ["sudo", "--preserve-env", "--", sys.executable, "-B", "-m", "lab", *sys.argv[1:]])  # noqa: S606 - no shell is what is wanted


def replace_by(argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Replace this process by the command, so that terminal, signals and exit status belong to it alone."""
    sys.stdout.flush()
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - as above


def report(line: str) -> None:
    """Print progress to standard error, because the only output of `image` is its path."""
    print(f"lab: {line}", file=sys.stderr, flush=True)


def print_status(lab: Lab) -> int:
    """Print a line per part; return 1 when one of them is not up."""
    parts = lab.status()
    for part in parts:
        state = "up" if part.ready else "booting" if part.pid else "down"
        print(f"{part.name:<10} {part.address:<12} {state:<8} {part.pid or ''}".rstrip())
    return 0 if all(part.ready for part in parts) else 1


def main() -> int:
    """Run the command line."""
    arguments = parse(sys.argv[1:])
    become_root()
    try:
        lab = Lab(
            arguments.name,
            arguments.workers,
            report=report,
            managers=arguments.managers,
            underlay=arguments.underlay,
        )
        match arguments.command:
            case "up":
                lab.up()
                report(f"up; the product's state file is {lab.database}")
                if lab.database_url:
                    report(f"its managers share {lab.database_url}")
            case "down":
                lab.down()
                report("down")
            case "status":
                return print_status(lab)
            case "image":
                print(lab.image if arguments.guest == "small" else guest.debian(report))
            case "exec":
                terminal = {name: os.environ[name] for name in TERMINAL_VARIABLES if name in os.environ}
                replace_by(lab.host_argv(arguments.host, arguments.words), SYSTEM_ENVIRONMENT | terminal)
            case "run":
                replace_by(lab.manager_argv(arguments.words, arguments.manager), lab.environment(arguments.manager))
    except (LabError, ValueError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

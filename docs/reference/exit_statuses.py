"""Write the page of exit statuses, from the constants of `cli.py` and `menu/`."""

from __future__ import annotations

import signal

import cli
from docs.reference.markdown import page, table
from menu import command_parts, endings, hosts, operator, session
from menu.words import USAGE

_ALL = (
    (session.LEAVE, "The menu was left, or the command did what it was asked."),
    (cli.FAILED, "The command was refused or failed. One line on standard error says why."),
    (USAGE, "The words of the command line are wrong."),
    (cli.UNEXPECTED, "An unexpected error. A report of it is in `<database>.crash.log`."),
    (endings.Ended(signal.SIGHUP).status, "The terminal or connection was lost (SIGHUP)."),
    (cli.INTERRUPTED, "Ctrl-C."),
    (cli.OUTPUT_LOST, "The program that read the output is gone."),
    (endings.Ended(signal.SIGTERM).status, "The program was ended from outside (SIGTERM)."),
)
_MENU = (
    (session.LEAVE, "Exit, or the end of input."),
    (session.TOO_MANY_ATTEMPTS, "Too many wrong logins, or too many sessions of the account."),
)
_LOOKS = (
    (operator.CLEAN, "`doctor` found nothing; `prove`: isolation holds."),
    (operator.FOUND, "`doctor` has findings, or could not remove all; `prove` found a breach."),
    (operator.BLIND, "A host or the file could not be read, or the command was refused."),
)
_FORGET = (
    (hosts.DONE, "All is done, or nothing was changed (`--dry-run`, or the answer was no)."),
    (cli.FAILED, "Refused."),
    (hosts.LEFT, "The worker is written off, and something is left to do. The output names it."),
)


_SLICES = (
    (command_parts.DONE, "It was shown, changed or written; the file is valid; the console was left."),
    (
        command_parts.REFUSED,
        "Refused or failed; `delete`, `image remove`: the answer was no; `validate`, `create`: the file has faults.",
    ),
    (
        command_parts.INCOMPLETE,
        "Done with something left out or replaced, a warning, or VMs not ready in time. Standard error names it.",
    ),
)


def exit_statuses_page() -> str:
    """Return the page."""
    sections = {
        "All commands": _ALL,
        "The menu": _MENU,
        "doctor and prove": _LOOKS,
        "host forget": _FORGET,
        "Commands about slices and base images": _SLICES,
    }
    parts = [
        part
        for heading, rows in sections.items()
        for part in (f"## {heading}", table(("status", "meaning"), ((str(status), words) for status, words in rows)))
    ]
    return page("Exit statuses", *parts)

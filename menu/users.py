"""Manage the accounts: `python3 cli.py user add|passwd|quota|slices|role|remove|list`."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING

from core.errors import Refused
from menu.command_parts import show_json
from menu.json_records import user_record
from menu.keyboard import Keyboard
from menu.prompts import LONGEST_ANSWER
from menu.screen import Screen
from models import ADMIN, STUDENT, User

if TYPE_CHECKING:
    from accounts.accounts import Accounts


def manage(accounts: Accounts, args: Namespace, keyboard: Keyboard, screen: Screen) -> None:
    """Carry out the command and print its result, or raise `CloudError`."""
    match args.action:
        case "add":
            role = ADMIN if args.admin else STUDENT
            accounts.add(args.name, _new_password(keyboard), args.quota, role)
            screen.line(f"User {args.name} added, {role}, quota {args.quota} VMs")
        case "passwd":
            accounts.set_password(args.name, _new_password(keyboard))
            screen.line(f"Password of {args.name} changed")
        case "quota":
            accounts.set_quota(args.name, args.quota)
            screen.line(f"Quota of {args.name} is {args.quota} VMs now")
        case "slices":
            accounts.set_slices(args.name, args.slices)
            screen.line(f"{args.name} may have {accounts.most_slices(args.name)} slices now")
        case "role":
            accounts.set_role(args.name, args.role)
            screen.line(f"Role of {args.name} is {args.role} now")
        case "remove":
            accounts.remove(args.name)
            screen.line(f"User {args.name} removed")
        case _:
            _list(accounts, args, screen)


def _list(accounts: Accounts, args: Namespace, screen: Screen) -> None:
    users = sorted(accounts.list(), key=lambda user: user.username)
    found = [(user, accounts.most_slices(user.username)) for user in users]
    if args.json:
        show_json(screen, {"users": [user_record(user, most_slices) for user, most_slices in found]})
        return
    for user, most_slices in found:
        screen.line(_user_line(user, most_slices))


def _new_password(keyboard: Keyboard) -> str:
    """Ask twice for a password on a terminal without echo, or read one line of piped input."""
    try:
        if not os.isatty(keyboard.lines.descriptor):
            return _usable(keyboard.lines.line())
        password = _usable(keyboard.secret("New password: "))
        repeated = keyboard.secret("The same again: ")
    except EOFError as end:
        raise Refused("No password was given; nothing was changed") from end
    if repeated != password:
        raise Refused("The two passwords differ; nothing was changed")
    return password


def _usable(password: str) -> str:
    if 0 < len(password) <= LONGEST_ANSWER:
        return password
    raise Refused(f"A password has 1 to {LONGEST_ANSWER} characters; nothing was changed")


def _user_line(user: User, most_slices: int) -> str:
    slices = ", ".join(map(str, sorted(user.slices))) or "none"
    return (
        f"{user.username}: {user.role}, {user.used_vms} of {user.quota_vms} VMs used, "
        f"{len(user.slices)} of {most_slices} slices: {slices}"
    )

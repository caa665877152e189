"""The accounts, without the menu: `python3 cli.py user add|passwd|quota|slices|role|remove|list`."""

from __future__ import annotations

import os
from argparse import Namespace

from core.errors import Refused
from menu.api import Accounts
from menu.keyboard import Keyboard
from menu.prompts import LONGEST_ANSWER
from menu.screen import Screen
from models import ADMIN, STUDENT, User


def manage(accounts: Accounts, wish: Namespace, keyboard: Keyboard, screen: Screen) -> None:
    """Do what the command line asks for, and say so; `CloudError` where that is impossible."""
    match wish.action:
        case "add":
            role = ADMIN if wish.admin else STUDENT
            accounts.add(wish.name, _new_password(keyboard), wish.quota, role)
            screen.line(f"User {wish.name} added, {role}, quota {wish.quota} VMs")
        case "passwd":
            accounts.set_password(wish.name, _new_password(keyboard))
            screen.line(f"Password of {wish.name} changed")
        case "quota":
            accounts.set_quota(wish.name, wish.quota)
            screen.line(f"Quota of {wish.name} is {wish.quota} VMs now")
        case "slices":
            accounts.set_slices(wish.name, wish.slices)
            screen.line(f"{wish.name} may have {accounts.most_slices(wish.name)} slices now")
        case "role":
            accounts.set_role(wish.name, wish.role)
            screen.line(f"Role of {wish.name} is {wish.role} now")
        case "remove":
            accounts.remove(wish.name)
            screen.line(f"User {wish.name} removed")
        case _:
            for user in sorted(accounts.list(), key=lambda user: user.username):
                screen.line(_user_line(user, accounts.most_slices(user.username)))


def _new_password(keyboard: Keyboard) -> str:
    """Asked for twice on a terminal, where it cannot be seen; one line of input otherwise."""
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

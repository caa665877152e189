"""Ask a question before a command changes something: on the terminal, or not at all."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from core.errors import Refused
from menu.command_parts import errors_screen
from menu.idle import Idle
from menu.keyboard import Keyboard, Lines
from menu.prompts import Back, Prompts
from menu.screen import Screen

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI


def agreed(api: OrchestratorAPI, args: Namespace, question: str, needs_yes: str) -> bool:
    """Return the answer to a question of a command. Without a terminal, raise `Refused` with `needs_yes`."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(needs_yes)
    screen = errors_screen()
    try:
        return Prompts(keyboard_for(api, args, screen), screen, way_back="").yes(question)
    except (Back, EOFError):
        return False


def keyboard_for(api: OrchestratorAPI, args: Namespace, screen: Screen) -> Keyboard:
    """Return a keyboard whose questions are on `screen`. A restricted session ends without input, as its menu does."""
    lines = Lines(sys.stdin.fileno())

    def typed(prompt: str) -> str:
        screen.prompt(prompt)
        return lines.line()

    idle = Idle(api.idle_seconds if args.restricted_user else None, screen.line)
    return Keyboard(lines, screen, typed, idle=idle)

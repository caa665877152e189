"""Run a session from start to end: log in, show warnings, use the menu, log out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from accounts import rights
from core.errors import CloudError
from core.inventory import Worker
from core.results import value_of
from core.status import SliceStatus, VMStatus
from menu.keyboard import Keyboard
from menu.progress import Progress
from menu.prompts import Back, Last, Prompts
from menu.screen import GOOD, WARNING, Screen, View, clean
from menu.texts import by_id, title_for
from menu.told import show_told
from menu.views import MenuView
from models import ADMIN, Slice, User
from remote.plan import shell

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI

ATTEMPTS = 3
"""The number of wrong logins in a row that ends the program."""

LOGIN_SECONDS = 60.0
"""Seconds for the password in a restricted session, because it holds one of the account's places."""

LOGOUT = 8
EXIT = 0

_UNFINISHED = {
    SliceStatus.CREATING: "created",
    SliceStatus.DEPLOYING: "deployed",
    SliceStatus.DELETING: "deleted",
}
"""The statuses of a change that began, and what was being done to the slice."""

LEAVE = 0
TOO_MANY_ATTEMPTS = 1
TOO_MANY_SESSIONS = 1
INTERRUPTED = 130
PROGRAM = "python3 cli.py"


@dataclass(frozen=True)
class Session:
    """The logged-in user, and the objects that the entries of the menu work with."""

    api: OrchestratorAPI
    screen: Screen
    keyboard: Keyboard
    ask: Prompts
    actor: str
    program: str = ""
    """The words before a command that does what an entry does; empty where the user has no commands."""
    last: Last = field(default_factory=Last)

    def say(self, sentence: str) -> None:
        """Write a sentence about a success."""
        self.screen.line(sentence, GOOD)

    def show(self, view: View) -> None:
        """Show a view."""
        self.screen.show(view)

    def same_as(self, *words: str) -> None:
        """Show the command that repeats what an entry did, on a terminal only."""
        if self.screen.terminal and self.program:
            self.screen.line(f"The same by command: {self.program} {shell(words)}", "dim")

    def word_for(self, slice_: Slice) -> str:
        """Return the word that names a slice in a command: its name, or its id where the name may not be enough."""
        return slice_.name if slice_.owner == self.actor and slice_.name[:1].isalpha() else str(slice_.slice_id)

    def progress(self) -> Progress:
        """Return a listener that shows the progress of a plan."""
        return Progress(self.screen)


@dataclass(frozen=True)
class Entry:
    """A numbered entry of the menu. The numbers never change. `for_admins`: other users do not see it."""

    number: int
    title: str
    run: Callable[[Session], None]
    for_admins: bool = False


class Measurement:
    """A measurement of the workers by a thread. A worker that is down takes seconds, and Ctrl-C must end the wait.

    It begins after the right password, so that an open prompt costs the workers nothing.
    """

    def __init__(self, api: OrchestratorAPI) -> None:
        self._api = api
        self._answer: Future[dict[str, Worker]] = Future()
        threading.Thread(target=self._run, daemon=True).start()

    def workers(self) -> dict[str, Worker]:
        """Wait for the workers and return them, or raise `CloudError`."""
        return self._answer.result()

    def _run(self) -> None:
        try:
            self._answer.set_result(value_of(self._api.known_workers()))
        except BaseException as error:  # noqa: BLE001 - `workers` raises it
            self._answer.set_exception(error)


def run(
    api: OrchestratorAPI,
    screen: Screen,
    keyboard: Keyboard,
    entries: Sequence[Entry],
    restricted_user: str = "",
    program: str = PROGRAM,
) -> int:
    """Run sessions and return the exit status. End of input and Ctrl-C lead out of every prompt.

    `restricted_user`: the only user who may log in, once. An empty string allows all users, one after the other.
    `program`: the words that call the program in a shell.
    """
    try:
        return _sessions(api, screen, keyboard, entries, restricted_user, program)
    except EOFError:
        status = LEAVE
    except KeyboardInterrupt:
        status = INTERRUPTED
    screen.line("Goodbye")
    return status


def _sessions(
    api: OrchestratorAPI,
    screen: Screen,
    keyboard: Keyboard,
    entries: Sequence[Entry],
    restricted_user: str,
    program: str,
) -> int:
    ask = Prompts(keyboard, screen)
    while True:
        with ExitStack() as place:
            if restricted_user and not _takes_place(api, screen, restricted_user, place):
                return TOO_MANY_SESSIONS
            actor = log_in(api, screen, ask, place, restricted_user)
            if actor is None:
                screen.line("Too many wrong logins. Goodbye")
                return TOO_MANY_ATTEMPTS
            by_command = _by_ssh(api, actor) if restricted_user else f"{program} --as {actor}"
            session = Session(api, screen, keyboard, ask, actor, by_command)
            _warn(session, Measurement(api))
            _guarded(session, offer_unfinished)
            _guarded(session, offer_unfinished_snapshots)
            choice = use_menu(session, _entries_for(session, entries))
        keyboard.forget()
        if choice == EXIT or restricted_user:
            screen.line("Goodbye")
            return LEAVE
        session.say("Logged out")


def _by_ssh(api: OrchestratorAPI, actor: str) -> str:
    """Return the words before a command of a restricted session, or an empty text where the user has no commands."""
    address = value_of(api.command_address(actor))
    return f"ssh {address}" if address else ""


def _takes_place(api: OrchestratorAPI, screen: Screen, username: str, place: ExitStack) -> bool:
    """Return whether the account has a place for this session, and hold it until `place` is closed."""
    try:
        place.enter_context(closing(value_of(api.open_session(username))))
    except CloudError as failure:
        screen.error(str(failure))
        return False
    return True


def log_in(
    api: OrchestratorAPI, screen: Screen, ask: Prompts, place: ExitStack, restricted_user: str = ""
) -> str | None:
    """Return the name of the user with the right password, or None after too many attempts.

    A restricted session holds its place already, and must get the right password within `LOGIN_SECONDS`.
    """
    if restricted_user:
        screen.line(f"User: {restricted_user}")
        ask.end_after(LOGIN_SECONDS)
    for _ in range(ATTEMPTS):
        username = restricted_user or ask.username("Username: ")
        password = ask.password("Password: ")
        try:
            value_of(api.authenticate(username, password))
        except CloudError as failure:
            screen.error(str(failure))
            continue
        ask.end_after(None)
        if not restricted_user and not _takes_place(api, screen, username, place):
            continue
        if api.needs_new_password(username, password):
            screen.line(
                "This password came with the program, so everyone knows it. Choose another one before you go on",
                WARNING,
            )
            _replace_password(api, screen, ask, username, password)
        return username
    return None


def _replace_password(api: OrchestratorAPI, screen: Screen, ask: Prompts, actor: str, current: str) -> None:
    """Ask until the user has another password. Only the end of input and Ctrl-C lead out before."""
    while True:
        try:
            value_of(api.change_password(actor, current, ask.new_password()))
        except Back:
            screen.error("The menu opens when you have a new password")
        except CloudError as failure:
            screen.error(str(failure))
        else:
            screen.line("Password changed", GOOD)
            return


def offer_unfinished(session: Session) -> None:
    """Ask what to do with each slice whose change was not finished."""
    for slice_ in by_id(value_of(session.api.unfinished(session.actor))):
        session.screen.line(_found(slice_, session.actor), WARNING)
        meanings = {"f": "finish", "t": "take back", "l": "later"}
        prompt = "(f)inish, (t)ake back or (l)ater? "
        if rights.goes_only_forward(slice_):
            del meanings["t"]
            prompt = "(f)inish or (l)ater? "
        answer = session.ask.letter(prompt, meanings)
        if answer == "l":
            continue
        carry_out = session.api.finish_slice if answer == "f" else session.api.take_back_slice
        with session.progress() as listen:
            outcome = carry_out(session.actor, slice_.slice_id, listen)
        try:
            session.say(value_of(outcome))
        except CloudError as failure:
            session.screen.error(str(failure))


def offer_unfinished_snapshots(session: Session) -> None:
    """Ask what to do with each snapshot that was not finished: it takes room until it is taken again or deleted."""
    for each in value_of(session.api.snapshots.unfinished(session.actor)):
        title, names = title_for(each.slice_, session.actor), ", ".join(clean(vm.name) for vm in each.vms)
        session.screen.line(f"The snapshot {each.name} of {names} in {title} was not finished.", WARNING)
        answer = session.ask.letter("(f)inish, (d)elete or (l)ater? ", {"f": "finish", "d": "delete", "l": "later"})
        if answer == "l":
            continue
        carry_out = session.api.snapshots.take if answer == "f" else session.api.snapshots.delete
        with session.progress() as listen:
            outcome = carry_out(
                session.actor, each.slice_.slice_id, each.name, [vm.vm_id for vm in each.vms], listen=listen
            )
        try:
            show_told(value_of(outcome), session.screen)
        except CloudError as failure:
            session.screen.error(str(failure))


def _entries_for(session: Session, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that the user may see. A use-case checks again what a user may do."""
    _, user = session.api.get_user(session.actor)
    is_admin = isinstance(user, User) and user.role == ADMIN
    return [entry for entry in entries if is_admin or not entry.for_admins]


def use_menu(session: Session, entries: Sequence[Entry]) -> int:
    """Show the menu and run the chosen entries. Return `LOGOUT` or `EXIT` when the user chooses it.

    On a terminal the menu is shown again when the user asks for it, so that what an entry shows stays in sight.
    """
    numbers = [entry.number for entry in entries]
    titles = [(entry.number, entry.title) for entry in entries]
    actions = {entry.number: entry.run for entry in entries}
    ask = session.ask.entry if session.screen.terminal else session.ask.number
    shown = False
    while True:
        session.screen.line()
        if not shown:
            session.show(MenuView(session.actor, titles))
        try:
            choice = ask("Choose an option: ", "The choice", min(numbers), max(numbers))
        except Back:
            shown = False
            continue
        shown = session.screen.terminal
        if choice in {LOGOUT, EXIT}:
            return choice
        if choice in actions:
            _guarded(session, actions[choice])
        else:
            session.screen.error(f"There is no entry {choice} in this menu")


def _guarded(session: Session, action: Callable[[Session], None]) -> None:
    """Run an action and show its error as one sentence. `..` leads back from any question in it."""
    try:
        action(session)
    except CloudError as failure:
        session.screen.error(str(failure))
    except Back:
        pass
    if warning := session.api.warning():
        session.screen.line(f"Warning: {warning}", WARNING)


def _warn(session: Session, measurement: Measurement) -> None:
    try:
        with session.screen.waiting("Looking for the workers"):
            workers = measurement.workers()
    except CloudError as failure:
        session.screen.error(str(failure))
        return
    for address, worker in workers.items():
        if worker.forgotten:
            problem = worker.problem or "it was written off"
            session.screen.line(f"Warning: worker {address} gets no VMs: {problem}", WARNING)
        elif not worker.up:
            hint = " (1 says why)" if worker.problem else ""
            session.screen.line(f"Warning: worker {address} {worker.state}; it gets no VMs{hint}", WARNING)
        elif worker.problem:
            session.screen.line(f"Warning: worker {address}: {worker.problem}", WARNING)


def _found(slice_: Slice, viewer: str) -> str:
    """Return a sentence about an unfinished change, with its cause: a host, or the manager."""
    title = title_for(slice_, viewer)
    title = title[0].upper() + title[1:]
    hosts = ", ".join(dict.fromkeys(item.rpartition(" on ")[2] for item in slice_.left))
    if slice_.status in _UNFINISHED:
        if hosts and slice_.status != SliceStatus.DEPLOYING:
            return f"{title} could not be {_UNFINISHED[slice_.status]} completely: parts of it are left on {hosts}."
        return f"{title} was being {_UNFINISHED[slice_.status]} when its manager stopped."
    if slice_.before:
        left = f": parts of it are left on {hosts}" if hosts else ""
        return f"{title}: a change of its VMs and links was not finished{left}."
    if begun := rights.unfinished_power(slice_):
        effect = " Finishing it makes new disks; taking it back keeps the old ones, where they are still there."
        return f"{title}: {begun} was not finished.{effect if 'a reset' in begun else ''}"
    names = ", ".join(vm.name for vm in slice_.vms if vm.status == VMStatus.PENDING)
    if hosts:
        return f"{title}: adding {names} failed and could not be rolled back: parts are left on {hosts}."
    return f"{title} was getting new VMs when its manager stopped: {names}."

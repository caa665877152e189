"""A visit from start to end: log in, be told what needs attention, use the menu, log out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass

from core.errors import CloudError
from core.inventory import Worker
from core.status import SliceStatus, VMStatus
from menu.api import API, value_of
from menu.facts import by_id, title_for
from menu.keyboard import Keyboard
from menu.progress import Progress
from menu.prompts import Back, Prompts
from menu.screen import GOOD, WARNING, Screen, View
from menu.views import MenuView
from models import Slice

ATTEMPTS = 3
"""Wrong logins in a row after which the program ends."""

LOGIN_SECONDS = 60.0
"""How long a restricted session may sit at the password prompt: it holds one of the account's places."""

LOGOUT = 8
EXIT = 0

LEAVE = 0
TOO_MANY_ATTEMPTS = 1
TOO_MANY_SESSIONS = 1
INTERRUPTED = 130


@dataclass(frozen=True)
class Session:
    """Who is logged in, and what the entries of the menu work with."""

    api: API
    screen: Screen
    keyboard: Keyboard
    ask: Prompts
    actor: str

    def say(self, sentence: str) -> None:
        """Tell that something worked."""
        self.screen.line(sentence, GOOD)

    def show(self, view: View) -> None:
        """Show a view."""
        self.screen.show(view)

    def progress(self) -> Progress:
        """A listener that draws what happens."""
        return Progress(self.screen)


@dataclass(frozen=True)
class Entry:
    """A numbered entry of the menu; the numbers never change."""

    number: int
    title: str
    run: Callable[[Session], None]


class Discovery:
    """Looks at the workers in a thread, so that Ctrl-C leads out of it; a worker that is down makes that take seconds.

    It begins when the password was right: who only sits at the prompt costs the workers nothing.
    """

    def __init__(self, api: API) -> None:
        self._api = api
        self._answer: Future[dict[str, Worker]] = Future()
        threading.Thread(target=self._run, daemon=True).start()

    def workers(self) -> dict[str, Worker]:
        """The workers, once they are known; `CloudError` when they could not be looked at."""
        return self._answer.result()

    def _run(self) -> None:
        try:
            self._answer.set_result(value_of(self._api.known_workers()))
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is asked for
            self._answer.set_exception(error)


def run(api: API, screen: Screen, keyboard: Keyboard, entries: Sequence[Entry], seat: str = "") -> int:
    """Everything from the first prompt to the exit status. End of input and Ctrl-C lead out from every prompt.

    `seat` is the only user who may log in here, once; "" is anybody, one after the other.
    """
    try:
        return _visits(api, screen, keyboard, entries, seat)
    except EOFError:
        status = LEAVE
    except KeyboardInterrupt:
        status = INTERRUPTED
    screen.line("Goodbye")
    return status


def _visits(api: API, screen: Screen, keyboard: Keyboard, entries: Sequence[Entry], seat: str) -> int:
    ask = Prompts(keyboard, screen)
    while True:
        with ExitStack() as place:
            if seat and not _takes_place(api, screen, seat, place):
                return TOO_MANY_SESSIONS
            actor = log_in(api, screen, ask, place, seat)
            if actor is None:
                screen.line("Too many wrong logins. Goodbye")
                return TOO_MANY_ATTEMPTS
            session = Session(api, screen, keyboard, ask, actor)
            _warn(session, Discovery(api))
            _guarded(session, offer_unfinished)
            choice = use_menu(session, entries)
        keyboard.forget()
        if choice == EXIT or seat:
            screen.line("Goodbye")
            return LEAVE
        session.say("Logged out")


def _takes_place(api: API, screen: Screen, username: str, place: ExitStack) -> bool:
    """Return whether the account has room for this session, which holds its place until `place` is closed."""
    try:
        place.enter_context(closing(value_of(api.open_session(username))))
    except CloudError as failure:
        screen.error(str(failure))
        return False
    return True


def log_in(api: API, screen: Screen, ask: Prompts, place: ExitStack, seat: str = "") -> str | None:
    """The name of whoever gave the right password, or None after too many attempts.

    At a restricted session, whose place is taken already, the right password has to come within `LOGIN_SECONDS`.
    """
    if seat:
        screen.line(f"User: {seat}")
        ask.end_after(LOGIN_SECONDS)
    for _ in range(ATTEMPTS):
        username = seat or ask.username("Username: ")
        password = ask.password("Password: ")
        try:
            value_of(api.authenticate(username, password))
        except CloudError as failure:
            screen.error(str(failure))
            continue
        ask.end_after(None)
        if not seat and not _takes_place(api, screen, username, place):
            continue
        if api.needs_new_password(username, password):
            screen.line("This password is one that everybody knows: choose another one before you go on", WARNING)
            _replace_password(api, screen, ask, username, password)
        return username
    return None


def _replace_password(api: API, screen: Screen, ask: Prompts, actor: str, current: str) -> None:
    """Ask until the user has a password of their own; the end of input and Ctrl-C are the only other ways out."""
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
    """Ask what to do with each slice that a manager left half-done."""
    for slice_ in by_id(value_of(session.api.unfinished(session.actor))):
        session.screen.line(_found(slice_, session.actor), WARNING)
        meanings = {"f": "finish", "t": "take back", "l": "later"}
        prompt = "(f)inish, (t)ake back or (l)ater? "
        if slice_.status == SliceStatus.DELETING:  # what is half deleted can only be deleted
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


def use_menu(session: Session, entries: Sequence[Entry]) -> int:
    """Show the menu and do what is chosen, until it is to log out or to exit; the number of that."""
    numbers = [entry.number for entry in entries]
    titles = [(entry.number, entry.title) for entry in entries]
    actions = {entry.number: entry.run for entry in entries}
    while True:
        session.screen.line()
        session.show(MenuView(session.actor, titles))
        try:
            choice = session.ask.number("Choose an option: ", "The choice", min(numbers), max(numbers))
        except Back:
            continue
        if choice in {LOGOUT, EXIT}:
            return choice
        if choice in actions:
            _guarded(session, actions[choice])
        else:
            session.screen.error(f"There is no entry {choice} in this menu")


def _guarded(session: Session, action: Callable[[Session], None]) -> None:
    """Do it; what does not work is one sentence, and the way back is always open."""
    try:
        action(session)
    except CloudError as failure:
        session.screen.error(str(failure))
    except Back:
        pass
    if warning := session.api.warning():
        session.screen.line(f"Warning: {warning}", WARNING)


def _warn(session: Session, discovery: Discovery) -> None:
    try:
        with session.screen.waiting("Looking for the workers"):
            workers = discovery.workers()
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
    """Return in one sentence what an unfinished change left, and whether a host or the manager is the cause."""
    title = title_for(slice_, viewer)
    title = title[0].upper() + title[1:]
    hosts = ", ".join(dict.fromkeys(item.rpartition(" on ")[2] for item in slice_.left))
    if slice_.status == SliceStatus.DEPLOYING:
        return f"{title} was being deployed when its manager stopped."
    if slice_.status == SliceStatus.DELETING and hosts:
        return f"{title} could not be deleted completely: parts of it are left on {hosts}."
    if slice_.status == SliceStatus.DELETING:
        return f"{title} was being deleted when its manager stopped."
    names = ", ".join(vm.name for vm in slice_.vms if vm.status == VMStatus.PENDING)
    if hosts:
        return f"{title} was given {names}, which failed and could not be taken back: parts are left on {hosts}."
    return f"{title} was given {names} when its manager stopped."

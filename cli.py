"""Cloud Repositorio's entry: the numbered menu, and the operator's subcommands. Knows no host and no command."""

from __future__ import annotations

INTERRUPTED = 130

try:
    import errno
    import logging
    import os
    import resource
    import sys
    import threading
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import contextmanager, suppress
    from io import TextIOWrapper
    from pathlib import Path
    from typing import NoReturn

    from core.errors import CloudError, FileFault, Refused
    from menu import (
        commands,
        endings,
        environment,  # noqa: F401 - for its effect: it finds the packages that the rest needs
        hosts,
        log,
        operator,
        session,
        users,
    )
    from menu.api import API
    from menu.arguments import parser
    from menu.crash import crash_sentence
    from menu.entries import ENTRIES
    from menu.idle import Idle
    from menu.keyboard import Keyboard, Lines
    from menu.screen import OutputLost, Screen, clean, on_terminal
except KeyboardInterrupt:  # before there was anything to end
    raise SystemExit(INTERRUPTED) from None

FAILED = 1
UNEXPECTED = 70
CRASH_AT_SEAT = "Something unexpected happened, and the session ends; tell the operator, who finds a report of it"
TELLING_KEYS = (r"\e&", r"\e~", r"\e=", r"\e?", r"\e*", r"\e\C-j", r"\e\C-m")
"""Keys of readline that name files and home folders, or lead to others that do."""

SEARCH_KEYS = (r"\C-r", r"\C-s", r"\ep", r"\en", r"\C-x")
"""Nobody searches what was answered to a menu, and readline 8.2 dies of two keys in a search. The last one begins the
names of macros and of the file of keys, too."""

TERMINAL_LOST = (errno.EIO, errno.EPIPE, errno.EBADF)
"""What the thread that draws meets when nobody looks any more: no fault of ours, so nothing to report."""

OUTPUT_LOST = 141
"""As a shell sees a program that SIGPIPE ended."""


def main(arguments: Sequence[str] | None = None, open_api: Callable[[Path], API] | None = None) -> int:
    """Run the program; its exit status. Whatever happens, no traceback reaches the screen."""
    try:
        _open_closed_streams()
        wish = parser(_default_database()).parse_args(arguments)
        return _guarded(wish, open_api or _open_api)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _flush()


def _guarded(wish: Namespace, open_api: Callable[[Path], API]) -> int:
    report = wish.database.with_name(f"{wish.database.name}.crash.log")
    try:
        endings.heed()
        if wish.seat:
            endings.sit_down()
        with _quiet_threads(report):
            return _show_log(wish) if wish.command == "log" else _run(wish, open_api(wish.database))
    except CloudError as error:
        failed = operator.BLIND if wish.command in {"doctor", "prove"} else FAILED
        return _fail(_at_seat(error, wish) if wish.seat and isinstance(error, FileFault) else str(error), failed)
    except OutputLost:
        return OUTPUT_LOST
    except KeyboardInterrupt:
        return INTERRUPTED
    except endings.Ended as end:
        return end.status
    except Exception as error:  # noqa: BLE001 - the last line of defence
        ended = endings.noted() if isinstance(error, SystemError) else None
        return ended.status if ended else _crash(error, report, wish)


def _crash(error: Exception, report: Path, wish: Namespace) -> int:
    sentence = crash_sentence(error, report)
    return _fail(CRASH_AT_SEAT if wish.seat else sentence, UNEXPECTED)


def _run(wish: Namespace, api: API) -> int:
    terminal = on_terminal(sys.stdin.fileno(), sys.stdout.fileno())
    screen = Screen(sys.stdout, terminal=terminal)
    idle = Idle(None if wish.command else api.idle_seconds, screen.line)
    typed, forget = _line_editor(wish.seat) if terminal else (None, lambda: None)
    keyboard = Keyboard(Lines(sys.stdin.fileno()), screen, typed, forget, idle)
    if wish.command == "user":
        users.manage(api.accounts, wish, keyboard, screen)
        if warning := api.warning():
            _warn(warning)
        return 0
    if wish.command == "host":
        return hosts.forget(api.hosts, wish, keyboard, screen)
    if wish.command == "doctor":
        return operator.diagnose(api.doctor, wish, screen, keyboard)
    if wish.command == "prove":
        return operator.prove(api.prover, wish, screen)
    if wish.command in commands.COMMANDS:
        return commands.COMMANDS[wish.command](api, wish, screen)
    return session.run(api, screen, keyboard, ENTRIES, wish.seat or "")


def _show_log(wish: Namespace) -> int:
    from accounts import audit  # noqa: PLC0415 - not needed for the menu's first prompt

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)  # a file per actor
    try:
        log.show(audit.read(wish.database), wish, Screen(sys.stdout, terminal=False))
    except OSError as error:
        where = error.filename or audit.folder_of(wish.database)
        raise Refused(f"{where} cannot be read ({error.strerror}): check its rights") from error
    return 0


def _at_seat(fault: FileFault, wish: Namespace) -> str:
    """What a user hears of a broken file; the operator finds the rest in the audit log."""
    from accounts.audit import Audit, Entry  # noqa: PLC0415

    Audit(wish.database).write(Entry(wish.seat, "open menu"), str(fault), 0.0, refused=True)
    return fault.public


def _open_api(database: Path) -> API:
    """The use-cases on a state file; imported here, so that help and wrong arguments need no SSH library."""
    from database import Database  # noqa: PLC0415
    from orchestrator import OrchestratorAPI  # noqa: PLC0415

    return OrchestratorAPI(Database(database))


def _default_database() -> Path:
    """The one in this folder, or else the one beside this file."""
    here = Path("database.yaml")
    return here if here.exists() else Path(__file__).with_name(here.name)


def _line_editor(seat: str | None) -> tuple[Callable[[str], str], Callable[[], None]]:
    """`input`, with arrow keys and history where Python was built with readline, and what forgets the history.

    At a student's seat lines are edited by the terminal alone: readline has too many keys that look at this machine.
    """
    if seat:
        return input, lambda: None
    try:
        import readline  # noqa: PLC0415
    except ImportError:
        return input, lambda: None
    readline.parse_and_bind("set disable-completion on")  # Tab would offer the files of this folder
    readline.parse_and_bind("set enable-bracketed-paste off")  # pasted lines are as many answers
    readline.set_completer(lambda _text, _state: None)  # some of the keys below complete all the same: nothing, then
    for key in TELLING_KEYS + SEARCH_KEYS:
        readline.parse_and_bind(f'"{key}": abort')
    return input, readline.clear_history


def _open_closed_streams() -> None:
    """Give a stream that was closed at start a place to lead to: else the next file opened would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextmanager
def _quiet_threads(report: Path) -> Iterator[None]:
    """Keep what threads and libraries have to say about failures off the screen; it goes into `report`."""
    logging.basicConfig(handlers=[logging.NullHandler()])
    before = threading.excepthook

    def note(failure: threading.ExceptHookArgs) -> None:
        if isinstance(failure.exc_value, OSError) and failure.exc_value.errno in TERMINAL_LOST:
            return
        crash_sentence(failure.exc_value or failure.exc_type(), report)

    threading.excepthook = note
    try:
        yield
    finally:
        threading.excepthook = before


def _fail(sentence: str, status: int) -> int:
    with suppress(OSError, ValueError):
        print(f"Error: {clean(sentence)}", file=sys.stderr)
    return status


def _warn(sentence: str) -> None:
    with suppress(OSError, ValueError):
        print(f"Warning: {clean(sentence)}", file=sys.stderr)


def _flush() -> None:
    """Write out what is left; where nobody reads it, throw it away before Python complains about it at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(status: int) -> NoReturn:
    """End at once.

    Python's own way out waits for all threads, and one of them may still be waiting for a worker that does not answer.
    """
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())

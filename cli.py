#!/usr/bin/env python3
"""Run Cloud Repositorio: the numbered menu and the operator's commands. This module knows no host."""

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
    from typing import TYPE_CHECKING, NoReturn

    from core.errors import CloudError, FileFault, Interrupted, Refused
    from menu import (
        authorized_keys,
        commands,
        database_commands,
        endings,
        environment,  # noqa: F401 - for its effect: it finds the packages that the rest needs
        hosts,
        log,
        operator,
        restricted,
        session,
        users,
    )
    from menu.arguments import parse, parser
    from menu.crash import crash_sentence
    from menu.entries import ENTRIES
    from menu.idle import Idle
    from menu.keyboard import Keyboard, Lines
    from menu.screen import OutputLost, Screen, clean, on_terminal
    from remote.plan import shell
    from storage.location import Location, own_path
except KeyboardInterrupt:  # nothing has begun yet
    raise SystemExit(INTERRUPTED) from None

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI

FAILED = 1
UNEXPECTED = 70
CRASH_IN_RESTRICTED_SESSION = (
    "Something unexpected happened, and the session ends. Tell the operator: there is a report"
)
TELLING_KEYS = (r"\e&", r"\e~", r"\e=", r"\e?", r"\e*", r"\e\C-j", r"\e\C-m")
"""Keys of readline that show files and home folders, or lead to other keys that do."""

SEARCH_KEYS = (r"\C-r", r"\C-s", r"\ep", r"\en", r"\C-x")
"""Keys of readline that begin a search: readline 8.2 crashes at two keys in one. The last one also begins macros."""

TERMINAL_LOST = (errno.EIO, errno.EPIPE, errno.EBADF)
"""Errors of the drawing thread when the terminal is gone. They are no fault of the program, so no report is written."""

OUTPUT_LOST = 141
"""The status that a shell shows for a program ended by SIGPIPE."""


def main(arguments: Sequence[str] | None = None, open_api: Callable[[Location], OrchestratorAPI] | None = None) -> int:
    """Run the program and return its exit status. No traceback reaches the screen."""
    try:
        _open_closed_streams()
        args = parse(arguments, _default_database())
        if args.restricted_user:  # the user's end of the connection may have set the environment
            args = parse(arguments, _state_file())
        return _guarded(args, open_api or _open_api)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _flush()


def _guarded(args: Namespace, open_api: Callable[[Location], OrchestratorAPI]) -> int:
    own = own_path(args.database)
    report = own.with_name(f"{own.name}.crash.log")
    try:
        endings.install_signal_handlers()
        brought = restricted.original_command()
        if args.restricted_user:
            endings.restrict_session()
        with _quiet_threads(report):
            return _served(args, open_api, brought if args.restricted_user else b"")
    except CloudError as error:
        failed = operator.BLIND if args.command in {"doctor", "prove"} else FAILED
        return _fail(_sentence(error, args), INTERRUPTED if isinstance(error, Interrupted) else failed)
    except OutputLost:
        return OUTPUT_LOST
    except KeyboardInterrupt:
        return INTERRUPTED
    except endings.Ended as end:
        return end.status
    except Exception as error:  # noqa: BLE001 - a user must never read a traceback
        ended = endings.noted() if isinstance(error, SystemError) else None
        return ended.status if ended else _crash(error, report, args)


def _crash(error: Exception, report: Path, args: Namespace) -> int:
    sentence = crash_sentence(error, report)
    return _fail(CRASH_IN_RESTRICTED_SESSION if args.restricted_user else sentence, UNEXPECTED)


def _served(args: Namespace, open_api: Callable[[Location], OrchestratorAPI], brought: bytes) -> int:
    """Carry out the command, or open the menu. `brought` is the command that ssh brought into a restricted session."""
    if args.command == "log":
        return _show_log(args)
    if args.command == "completion":
        return _show_completion(args)
    screen = Screen(sys.stdout, terminal=on_terminal(sys.stdin.fileno(), sys.stdout.fileno()))
    if args.command == "database":
        return database_commands.carry_out(args, screen)
    api = open_api(args.database)
    if args.command == "authorized-keys":
        return authorized_keys.write_lines(api.accounts, args, screen)
    if not args.restricted_user and (warning := api.warning_at_start()):
        _warn(warning)
    if brought:
        return restricted.carry_out(api, args.restricted_user, brought, screen)
    return _run(args, api, screen)


def _run(args: Namespace, api: OrchestratorAPI, screen: Screen) -> int:
    idle = Idle(None if args.command else api.idle_seconds, screen.line)
    typed, forget = _line_editor(args.restricted_user) if screen.terminal else (None, lambda: None)
    keyboard = Keyboard(Lines(sys.stdin.fileno()), screen, typed, forget, idle)
    if args.command == "user":
        users.manage(api.accounts, args, keyboard, screen)
        if warning := api.warning():
            _warn(warning)
        return 0
    if args.command == "host":
        return hosts.ACTIONS[args.action](api.hosts, args, keyboard, screen)
    if args.command == "doctor":
        return operator.diagnose(api.doctor, args, screen, keyboard)
    if args.command == "prove":
        return operator.prove(api.prover, args, screen)
    if args.command in commands.COMMANDS:
        return commands.carry_out(api, args, screen)
    return session.run(api, screen, keyboard, ENTRIES, args.restricted_user or "", _program(args))


def _program(args: Namespace) -> str:
    """Return the words that call this program again with the same state file."""
    if str(args.database) == str(_default_database()):
        return session.PROGRAM
    return f"{session.PROGRAM} {shell(('--database', str(args.database)))}"


def _show_log(args: Namespace) -> int:
    from database import open_store  # noqa: PLC0415 - not needed for the menu's first prompt
    from storage.act_files import folder_of  # noqa: PLC0415

    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # the audit log has a file per actor
    try:
        entries = (act.entry for act in open_store(args.database).acts())
        log.show(entries, args, Screen(sys.stdout, terminal=False))
    except OSError as error:
        where = error.filename or folder_of(own_path(args.database))
        raise Refused(f"{where} cannot be read ({error.strerror}): check its rights") from error
    return 0


def _show_completion(args: Namespace) -> int:
    from menu.completion import completion  # noqa: PLC0415 - not needed for the menu's first prompt

    Screen(sys.stdout, terminal=False).data(completion(args.shell, args.name, parser(args.database)))
    return 0


def _sentence(error: CloudError, args: Namespace) -> str:
    """Return the sentence for the user. In a restricted session, a fault of a file is for the audit log only."""
    if not args.restricted_user or not isinstance(error, FileFault):
        return str(error)
    from accounts.audit import Audit, AuditEntry  # noqa: PLC0415
    from database import open_store  # noqa: PLC0415

    Audit(open_store(args.database)).write(AuditEntry(args.restricted_user, "open menu"), str(error), 0.0, refused=True)
    return error.public


def _open_api(database: Location) -> OrchestratorAPI:
    """Return the use-cases on a store. The import is here so that `--help` needs no SSH library."""
    from database import open_store  # noqa: PLC0415
    from orchestrator import OrchestratorAPI  # noqa: PLC0415

    return OrchestratorAPI(open_store(database))


def _default_database() -> str | Path:
    """Return the location that the environment names, or else the state file."""
    return os.environ.get("CLOUD_DATABASE") or _state_file()


def _state_file() -> Path:
    """Return the path of the state file in this folder, or else beside this file."""
    here = Path("database.yaml")
    return here if here.exists() else Path(__file__).with_name(here.name)


def _line_editor(restricted_user: str | None) -> tuple[Callable[[str], str], Callable[[], None]]:
    """Return a reader of lines, and a function that forgets its history.

    A restricted session gets no readline, because too many of its keys show files of this machine.
    """
    if restricted_user:
        return input, lambda: None
    try:
        import readline  # noqa: PLC0415
    except ImportError:
        return input, lambda: None
    readline.parse_and_bind("set disable-completion on")  # Tab would show the files of this folder
    readline.parse_and_bind("set enable-bracketed-paste off")  # each pasted line is one answer
    readline.set_completer(lambda _text, _state: None)  # some keys below complete all the same
    for key in TELLING_KEYS + SEARCH_KEYS:
        readline.parse_and_bind(f'"{key}": abort')
    return input, readline.clear_history


def _open_closed_streams() -> None:
    """Open /dev/null for each standard stream that is closed, so that no other file gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextmanager
def _quiet_threads(report: Path) -> Iterator[None]:
    """Write failures of threads and libraries into `report`, not to the screen."""
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
    """Write out the rest of the output. Discard it if no program reads it, or Python complains at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(status: int) -> NoReturn:
    """End at once.

    Python's normal exit waits for all threads, and one may still wait for a silent worker.
    """
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())

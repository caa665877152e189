"""Show when the VMs of a slice are ready: live on a terminal, a line per change elsewhere."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.results import value_of
from lifecycle.signs import Sign, VMSigns
from menu import rich_parts
from menu.command_parts import DONE, INCOMPLETE, errors_screen, say
from menu.screen import GOOD, WARNING, Screen, clean, lost_output
from menu.texts import counted, seconds

if TYPE_CHECKING:
    from lifecycle.readiness import Look
    from menu.keyboard import Lines
    from menu.session import Session
    from orchestrator import OrchestratorAPI

NAMES = {
    Sign.PROCESS: "process",
    Sign.FRAME: "first frame",
    Sign.LEASE: "address by DHCP",
    Sign.CONSOLE: "console",
    Sign.SSH: "ssh",
}
LEAVE_HINT = "Enter leaves this view; the VMs go on booting"


@dataclass(frozen=True)
class ReadinessView:
    """The signs of each VM of a slice that was just deployed."""

    look: Look

    def drawn(self) -> rich_parts.RenderableType:
        """Return a table with a row per VM."""
        table = rich_parts.Table.grid(padding=(0, 2))
        for vm in self.look.vms:
            state = rich_parts.Text("ready", GOOD) if vm.ready else rich_parts.Text(_waiting_for(vm), WARNING)
            table.add_row(rich_parts.Text(clean(vm.name), "bold"), state, rich_parts.Text(_seen(vm), "dim"))
        return table

    def lines(self) -> list[str]:
        """Return one line per VM."""
        return [line_of(vm) for vm in self.look.vms]


def line_of(vm: VMSigns) -> str:
    """Return what is known of a VM."""
    return f"VM {vm.vm_id} ({clean(vm.name)}): {_seen(vm)}; {'ready' if vm.ready else _waiting_for(vm)}"


def summary(look: Look, after: float) -> str:
    """Return how many VMs are ready, and which are not."""
    if look.ready:
        return f"{counted(len(look.vms), 'VM')} ready after {seconds(after)}"
    late = ", ".join(f"{clean(vm.name)} ({_waiting_for(vm)})" for vm in look.late)
    return f"Not ready after {seconds(after)}: {late}"


def watch_boot(session: Session, slice_id: int) -> None:
    """Show live what is known of the VMs, until they are ready or the user presses Enter or Ctrl-C."""
    began, screen = time.monotonic(), session.screen
    live = rich_parts.Live(console=screen.console, auto_refresh=False, transient=True)
    last: list[Look] = []

    def watch(look: Look, pause: float) -> bool:
        last[:] = [look]
        picture = ReadinessView(look).drawn()
        with lost_output():
            live.update(rich_parts.Group(picture, rich_parts.Text(LEAVE_HINT, "dim")), refresh=True)
        return not _pressed_enter(session.keyboard.lines, pause)

    with suppress(KeyboardInterrupt), _shown(live):
        last[:] = [value_of(session.api.readiness.wait(session.actor, slice_id, None, watch))]
    for look in last:
        after = time.monotonic() - began
        screen.show(ReadinessView(look))
        screen.line(summary(look, after), GOOD if look.ready else WARNING)


@contextmanager
def _shown(live: rich_parts.Live) -> Iterator[None]:
    """Show a live picture and take it away at the end; raise `OutputLost` where the terminal is gone."""
    with lost_output():
        live.start()
    try:
        yield
    finally:
        with lost_output():
            live.stop()


def await_boot(api: OrchestratorAPI, actor: str, slice_id: int, limit: float, screen: Screen) -> int:
    """Wait until all VMs are ready, with a line on standard error for each change; return the exit status."""
    began, known, errors = time.monotonic(), dict[int, VMSigns](), errors_screen()

    def show(look: Look) -> None:
        for vm in look.vms:
            if known.get(vm.vm_id) != vm:
                errors.line(line_of(vm), GOOD if vm.ready else "")
        known.update({vm.vm_id: vm for vm in look.vms})

    def watch(look: Look, pause: float) -> bool:
        show(look)
        time.sleep(pause)
        return True

    look = value_of(api.readiness.wait(actor, slice_id, limit, watch))
    show(look)
    after = time.monotonic() - began
    if look.ready:
        screen.line(summary(look, after), GOOD)
        return DONE
    say(*look.errors, summary(look, after))
    return INCOMPLETE


def _waiting_for(vm: VMSigns) -> str:
    return vm.problem if vm.problem and vm.needed is Sign.CONSOLE else f"waiting for: {NAMES[vm.needed]}"


def _seen(vm: VMSigns) -> str:
    return ", ".join(name for sign, name in NAMES.items() if sign in vm.seen) or "nothing seen yet"


def _pressed_enter(lines: Lines, wait: float) -> bool:
    """Wait for a line on the terminal, and take it."""
    if not lines.pending and not select.select([lines.descriptor], [], [], wait)[0]:
        return False
    lines.take()
    return True

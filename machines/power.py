"""Switch VMs off: their power buttons, a wait, and the end of those that are left. Pure: returns argvs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from machines import qmp
from models import VM, Slice
from shell.scripts import load

Argv = tuple[str, ...]

BUTTON_SECONDS = 30
"""The time in which a guest has to obey its power button."""

ENDING_SECONDS = 20
"""The longest time without output beside that: a dialog, two signals, and the start of the others."""

SWITCHED_OFF = "switched off"
"""The name of the answer with the VMs that did not obey."""

DISOBEYED = "switched off, because the guest did not obey"
"""The beginning of the sentence that names them."""

_ARE_OFF = load("vms/are-off")
_STOP_VMS = load("vms/stop-vms")


@dataclass(frozen=True)
class Switching:
    """A change of power of VMs, in this order: switch `off`, give new disks to `renewed`, switch `on`.

    A guest that is switched off has `seconds` to obey its power button; 0 switches it off at once. VMs that are
    `restored` get back the disks that a change with `renewed` has set aside. The disks of those that are `applied` are
    brought back to the snapshots that the VMs name.
    """

    off: tuple[VM, ...] = ()
    renewed: tuple[VM, ...] = ()
    on: tuple[VM, ...] = ()
    restored: tuple[VM, ...] = ()
    applied: tuple[VM, ...] = ()
    seconds: int = 0

    @property
    def vms(self) -> tuple[VM, ...]:
        """Return all VMs of the change, each once."""
        by_id = {vm.vm_id: vm for vm in (*self.off, *self.renewed, *self.restored, *self.applied, *self.on)}
        return tuple(by_id.values())

    def others(self, slice_: Slice) -> list[VM]:
        """Return the VMs that run on, and see by their carriers what becomes of these: the other ends of links."""
        changed = {vm.vm_id for vm in self.vms}
        ends = ({vm_id for vm_id, _ in link.ends} for link in slice_.links if len(link.ends) == 2)
        beside = set[int]().union(*(pair for pair in ends if pair & changed)) - changed
        return [vm for vm in slice_.vms if vm.vm_id in beside and not vm.stays_off]

    def on_worker(self, address: str) -> Switching:
        """Return the part of the change on one worker."""

        def here(vms: Iterable[VM]) -> tuple[VM, ...]:
            return tuple(vm for vm in vms if vm.worker_ip == address)

        off, renewed, on = here(self.off), here(self.renewed), here(self.on)
        return Switching(off, renewed, on, here(self.restored), here(self.applied), self.seconds)


def stop(monitors: Sequence[qmp.Monitor], seconds: int) -> Argv:
    """Return the argv that switches VMs off as the SSH user, and prints the names of those that did not obey.

    QEMU of a VM that does not answer within the deadline of a dialog is ended without further waiting.
    """
    press = qmp.ask((monitor, [qmp.command("system_powerdown")]) for monitor in monitors) if seconds else ("true",)
    pairs = chain.from_iterable((monitor.pid_file, monitor.mark) for monitor in monitors)
    return _STOP_VMS.argv(str(seconds), str(len(press)), *press, *pairs)


def are_off(monitors: Iterable[qmp.Monitor]) -> Argv:
    """Return the argv that checks, read-only, that none of the VMs runs."""
    return _ARE_OFF.argv(*chain.from_iterable((monitor.pid_file, monitor.mark) for monitor in monitors))

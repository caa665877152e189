"""Compare a VM's QEMU and its TAPs with the facts of its worker. Pure: yields codes and sentences."""

from __future__ import annotations

from collections.abc import Iterator

from core.names import VMFiles
from inspection import exposure
from inspection.codes import BY_GUEST
from inspection.facts import Facts, Process
from machines import qemu
from machines.taps import Taps
from models import VM

Problem = tuple[str, str]
"""The code of a finding, and its sentence without the host."""

_GOES_ON = frozenset({"running", "suspended", "save-vm", "restore-vm"})
_CAN_GO_ON = frozenset({"prelaunch", "paused", "io-error", "watchdog", "debug"})
"""States of QEMU (query-status of QMP) in which the guest runs or sleeps, and from which it can be let run."""


def of_process(vm: VM, process: Process | None, files: VMFiles, facts: Facts, *, designed: bool) -> Iterator[Problem]:
    """Yield the problems of a VM's QEMU: whether it runs, its command line and its state."""
    if vm.stays_off:
        if process:
            yield "vm-not-stopped", f"VM {vm.name} is stopped, but its process runs"
    elif process is None:
        if facts.knows("processes", "files"):
            yield _of_end(vm.name, facts.endings.get(files.messages))
    elif _is_older(process):
        yield "qemu-older", f"VM {vm.name} runs since an older version: its interfaces without a link can get none"
    else:
        if not designed:
            yield "qemu-wrong", f"VM {vm.name} runs with another command line"
        if facts.was_asked("states"):
            yield from _of_state(vm.name, facts.states.get(files.qmp, ""))


def _of_end(name: str, reason: int | None) -> Problem:
    if reason == qemu.BY_GUEST:
        return BY_GUEST, f"VM {name} powered itself off"
    return "qemu-dead", f"VM {name} does not run"


def _is_older(process: Process) -> bool:
    return process.is_qemu and qemu.is_older(process.argv)


def _of_state(name: str, state: str) -> Iterator[Problem]:
    if not state:
        yield "qemu-stuck", f"the QEMU of VM {name} does not answer"
    elif state in _CAN_GO_ON:
        yield "qemu-paused", f"VM {name} stands still ({state})"
    elif state not in _GOES_ON:
        yield "qemu-stuck", f"the QEMU of VM {name} cannot go on ({state})"


def of_taps(name: str, process: Process | None, taps: Taps, facts: Facts) -> Iterator[Problem]:
    """Yield the problems of a VM's TAPs. A VM of an older version has none for interfaces without a link."""
    is_older = process is not None and _is_older(process)
    for tap in taps.linked:
        yield from _of_linked(name, tap, facts, alive=process is not None)
    for tap in taps.loose:
        if tap in facts.devices or not is_older:
            yield from _of_loose(name, tap, facts)
        if process and tap in facts.devices and _has_lost(process, tap, facts):
            yield "tap-lost", f"VM {name} runs and does not hold {tap}, whose interface has no link"
    for device in filter(None, map(facts.devices.get, taps.names)):
        yield from (("stack-open", what) for what in exposure.of_tap(device, facts))


def _has_lost(process: Process, tap: str, facts: Facts) -> bool:
    """Return whether QEMU holds another TAP of this name, which was deleted, or none."""
    return facts.was_asked("disks") and not _is_older(process) and tap not in facts.held.get(process.pid, ())


def _of_linked(name: str, tap: str, facts: Facts, *, alive: bool) -> Iterator[Problem]:
    device = facts.devices.get(tap)
    if device is None:
        yield "tap-missing", f"{tap} of VM {name} is not there"
    elif not device.up or not device.is_ours:
        yield "tap-down", f"{tap} of VM {name} is down, or without our mark"
    elif alive and not device.carrier:
        yield "tap-dead", f"VM {name} runs and does not hold {tap}"


def of_queue(tap: str, words: str, facts: Facts) -> Iterator[Problem]:
    """Yield the problem of a TAP without the queue of these words of tc(8); no words stand for no queue of ours."""
    device, has = facts.devices.get(tap), facts.queues.get(tap, "")
    if device is None:
        return
    if has != words:
        there, wanted = f"the queue {has}" if has else "no queue of ours", words or "no rate, delay or loss"
        yield "queue-missing", f"{tap} has {there}; its link asks for {wanted}"
    elif words and device.qdisc != words.partition(" ")[0]:
        yield "queue-missing", f"{tap} has not the queue that its link asks for: {words}"


def _of_loose(name: str, tap: str, facts: Facts) -> Iterator[Problem]:
    device = facts.devices.get(tap)
    if device is None or not device.is_ours:
        yield "tap-missing", f"{tap} of VM {name} is not there, or without our mark"
    if device and device.up:
        yield "tap-up", f"{tap} of VM {name} is up, and its interface has no link"
    if facts.knows("ports") and tap in facts.ports:
        yield "tap-joined", f"{tap} of VM {name} is a port, and its interface has no link"

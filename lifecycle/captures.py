"""The interfaces whose packets can be captured, and the sentences about captures that did not begin."""

from __future__ import annotations

from accounts import rights
from core.captures import CaptureRequest
from core.errors import CloudError, CommandFailed, Refused
from models import VM, Interface, Slice
from remote.capture import FILTER_SECONDS, CaptureAnswer, NotCaptured


def linked_interface(vm: VM, name: str) -> Interface:
    """Return the interface of a VM whose packets can be captured; raise `Refused` where there is none."""
    interface = vm.interface(name)
    if interface is None:
        known = ", ".join(each.name for each in vm.interfaces)
        raise Refused(f"VM {vm.vm_id} ({vm.name}) has no {name}; its interfaces: {known}")
    if interface.vlan_id is None:
        raise Refused(f"No packets pass {name} of VM {vm.vm_id} ({vm.name}): it has no link; link it first")
    return interface


def failure(refusal: NotCaptured, slice_: Slice, vm: VM, request: CaptureRequest) -> CloudError:
    """Return the sentence about a capture that did not begin, with what to do."""
    who = f"VM {vm.vm_id} ({vm.name})"
    where = f"{request.nic} of {who}"
    repair = f"repair slice {slice_.slice_id}"
    match refusal.answer:
        case CaptureAnswer.WRONG_FILTER:
            return Refused(f"tcpdump does not understand the filter: {refusal.words or 'it gives no reason'}")
        case CaptureAnswer.SLOW_FILTER:
            return Refused(f"tcpdump did not compile the filter within {FILTER_SECONDS} s; write a simpler one")
        case CaptureAnswer.BUSY:
            return Refused(f"Packets of {where} are being captured already; end that capture, or try again later")
        case CaptureAnswer.OFF:
            return Refused(f"No packets pass {where}: the VM is off; {rights.way_to_start(slice_, vm)}")
        case CaptureAnswer.DOWN:
            return Refused(f"No packets pass {where}: its TAP is down; {repair}")
        case CaptureAnswer.FAILED:
            why = f"tcpdump could not be started: {refusal.words or 'no reason is given'}"
        case CaptureAnswer.NO_TAP:
            why = f"the TAP of {request.nic} is gone; {repair}, which makes it again"
        case _:
            why = "tcpdump is not installed (apt-get install tcpdump)"
    return CommandFailed(vm.worker_ip, f"capture at {where}", ("tcpdump",), 1, why)

"""The design of a slice that exists: what `export` writes."""

from __future__ import annotations

from core.formats import MAX_NAME_LENGTH
from models import Slice, internet_interfaces
from topology.design import Design, DesignedLink, DesignedVM, End
from topology.fields import NAME

UNKNOWN = "unknown"
"""The flavor of a VM that an older version made without recording one."""


def design_of(slice_: Slice) -> tuple[Design, list[str]]:
    """Return the design of a slice, and a sentence for each name that a slice file cannot have.

    Ids, MACs, owners, secrets and states of the hosts are no part of a design.
    """
    notices: list[str] = []

    def named(kind: str, name: str) -> str:
        if NAME.matches(name):
            return name
        new = f"n{name}"[:MAX_NAME_LENGTH]
        notices.append(f"{kind} {name} is called {new} in the file: names begin with a letter there")
        return new

    names = {vm.vm_id: named("VM", vm.name) for vm in slice_.vms}
    links = [
        DesignedLink(tuple(End(names[vm_id], int(nic.removeprefix("eth"))) for vm_id, nic in link.ends))
        for link in slice_.links
    ]
    online = {vm.vm_id for vm, _ in internet_interfaces(slice_)}
    vms = []
    for vm in slice_.vms:
        if vm.flavor_name is None:
            notices.append(f"VM {vm.name} has no recorded flavor: replace `{UNKNOWN}` in the file by its flavor")
        nics = [interface for interface in vm.interfaces if interface.name != "eth0"]
        name, flavor = names[vm.vm_id], vm.flavor_name or UNKNOWN
        vms.append(DesignedVM(name, flavor, len(nics), internet=vm.vm_id in online))
    return Design(named("slice", slice_.name), tuple(vms), tuple(links)), notices

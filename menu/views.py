"""Show the cloud: each view is a picture for a terminal and plain lines with the same facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from core.inventory import Worker
from core.status import SliceStatus, VMStatus
from menu import rich_parts
from menu.pictures import Beside, small_picture
from menu.prompts import BACK, HELP
from menu.screen import WARNING, clean
from menu.texts import (
    NOTHING,
    InterfaceTexts,
    VMTexts,
    counted,
    flavor_amounts,
    flavor_size,
    gib,
    owner_note,
    slice_title,
    vms_of,
)
from models import Flavor, Slice, User

if TYPE_CHECKING:
    from inspection.summary import SliceProblems

STATUS_STYLES = {
    SliceStatus.RUNNING.value: "green",
    SliceStatus.DESIGN.value: "cyan",
    SliceStatus.CREATING.value: "yellow",
    SliceStatus.DEPLOYING.value: "yellow",
    SliceStatus.DELETING.value: "yellow",
    VMStatus.PENDING.value: "yellow",
    VMStatus.STOPPED.value: "dim",
}
"""The color of each state; a state without one has that of other text."""
BAD_STATE = "bold red"
DIM = "dim"
HEAD = "bold"

MENU_WIDTH = 76
CONSOLE_HINT = "Their serial consoles: 9. Open a VM's console"


@dataclass(frozen=True)
class MenuView:
    """The numbered entries, in the order of display."""

    user: str
    entries: Sequence[tuple[int, str]]

    @property
    def _hint(self) -> str:
        return f'"{BACK}" at any question leads back to this menu'

    @property
    def _drawn_hint(self) -> rich_parts.Text:
        return rich_parts.Text(f'"{BACK}" leads back to this menu, Enter shows it, "{HELP}" explains a question', DIM)

    def drawn(self) -> rich_parts.RenderableType:
        """Return a panel of two columns, or of one on a narrow terminal.

        Two columns keep the output before the menu visible, even on 24 lines.
        """
        return _ByWidth(self._fitting)

    def _fitting(self, width: int) -> rich_parts.RenderableType:
        hint = self._drawn_hint
        if width < MENU_WIDTH:
            rows = _menu_rows([(entry,) for entry in self.entries])
            return rich_parts.Group(self._heading, rich_parts.Panel(rows, expand=False), hint)
        half = (len(self.entries) + 1) // 2
        rows = _menu_rows([*zip_longest(self.entries[:half], self.entries[half:])], min_width=28)
        return rich_parts.Panel(rows, title=self._heading, subtitle=hint, width=MENU_WIDTH, padding=(0, 2))

    @property
    def _heading(self) -> rich_parts.Text:
        return rich_parts.Text.assemble("Cloud Repositorio: ", (clean(self.user), HEAD))

    def lines(self) -> list[str]:
        """Return a title and one line per entry."""
        return [f"Cloud Repositorio: {self.user} ({self._hint})", *(f"{n}. {title}" for n, title in self.entries)]


@dataclass(frozen=True)
class _ByWidth:
    """A picture that depends on the number of columns."""

    fitting: Callable[[int], rich_parts.RenderableType]

    def __rich_console__(self, _console: rich_parts.Console, options: Any) -> Iterator[rich_parts.RenderableType]:
        """Yield the picture for the width that rich gives."""
        yield self.fitting(options.max_width)


def _menu_rows(rows: Iterable[Sequence[tuple[int, str] | None]], min_width: int | None = None) -> rich_parts.Table:
    """Return a table with the entries of each row side by side."""
    table = rich_parts.Table.grid(padding=(0, 1))
    for row in rows:
        for _ in range(len(table.columns) // 2, len(row)):
            table.add_column(justify="right", no_wrap=True)
            table.add_column(min_width=min_width, overflow="fold")
        table.add_row(*(cell for entry in row for cell in _menu_cells(entry)))
    return table


def _menu_cells(entry: tuple[int, str] | None) -> tuple[rich_parts.Text, rich_parts.Text]:
    number, title = entry or ("", "")
    return rich_parts.Text(f"{number}." if entry else "", "bold cyan"), rich_parts.Text(title)


@dataclass(frozen=True)
class ResourcesView:
    """The user's quota, the workers' room and the flavors."""

    user: User
    workers: Mapping[str, Worker]
    flavors: Mapping[str, Flavor]
    most_slices: int

    def drawn(self) -> rich_parts.RenderableType:
        """Return a bar for the quota and two tables."""
        quota = rich_parts.Table.grid(padding=(0, 1))
        used, allowed = self.user.used_vms, self.user.quota_vms
        bar = rich_parts.ProgressBar(total=max(allowed, 1), completed=used, width=20)
        quota.add_row(rich_parts.Text("Quota:", HEAD), bar, rich_parts.Text(self._quota))
        return rich_parts.Group(quota, "", self._worker_table(), "", self._flavor_table())

    def lines(self) -> list[str]:
        """Return one line for the quota, one per worker, one per flavor."""
        workers = (_worker_line(address, worker) for address, worker in self.workers.items())
        flavors = (
            f"Flavor {name}: {flavor_size(flavor.size)}, base image {flavor.image or NOTHING}"
            for name, flavor in self.flavors.items()
        )
        return [f"Quota: {self._quota}", *workers, *flavors]

    @property
    def _quota(self) -> str:
        vms = f"{self.user.used_vms} of {self.user.quota_vms} VMs used"
        return f"{vms}, {len(self.user.slices)} of {self.most_slices} slices"

    def _worker_table(self) -> rich_parts.Table:
        table = new_table("Worker", "State", "Cores", "RAM", "Disk", title="Workers: promised to VMs, of the total")
        for address, worker in self.workers.items():
            state, *amounts = _worker_cells(worker)
            table.add_row(clean(address), rich_parts.Text(state, "green" if worker.up else BAD_STATE), *amounts)
        problems = [f"{address}: {worker.problem}" for address, worker in self.workers.items() if worker.problem]
        table.caption = (
            rich_parts.Text("\n".join(clean(problem) for problem in problems), "yellow") if problems else None
        )
        return table

    def _flavor_table(self) -> rich_parts.Table:
        table = new_table("Flavor", "Cores", "RAM", "Disk", "Base image", title="Flavors")
        for name, flavor in self.flavors.items():
            table.add_row(clean(name), *flavor_amounts(flavor.size), clean(flavor.image or ""))
        return table


def _worker_line(address: str, worker: Worker) -> str:
    parts = _worker_cells(worker, ("{} cores", "{} RAM", "{} disk"))
    return f"Worker {address}: {', '.join([*parts, worker.problem] if worker.problem else parts)}"


def _worker_cells(worker: Worker, forms: Sequence[str] = ("{}", "{}", "{}")) -> list[str]:
    """Return state, cores, memory and disk of a worker. An amount that was never measured is left out."""
    amounts = (
        (f"{worker.used_cores} on {worker.max_cores}", worker.max_cores),
        (f"{gib(worker.used_ram_gb)} of {gib(worker.max_ram_gb)}", worker.max_ram_gb),
        (f"{gib(worker.used_disk_gb)} of {gib(worker.max_disk_gb)}", worker.max_disk_gb),
    )
    shown = [form.format(text if known else NOTHING) for form, (text, known) in zip(forms, amounts, strict=True)]
    return [worker.state, *shown]


@dataclass(frozen=True)
class SlicesView:
    """A list of slices, one line each, with their owners for another viewer."""

    slices: Sequence[Slice]
    viewer: str

    def drawn(self) -> rich_parts.RenderableType:
        """Return a table."""
        table = new_table("Slice", "Name", "Owner", "Status", "VMs", "Links", title="Slices")
        for slice_ in self.slices:
            status = rich_parts.Text(slice_.status.value, STATUS_STYLES.get(slice_.status.value, ""))
            counts = str(len(slice_.vms)), str(len(slice_.links))
            table.add_row(str(slice_.slice_id), clean(slice_.name or NOTHING), clean(slice_.owner), status, *counts)
        return table

    def lines(self) -> list[str]:
        """Return one line per slice."""
        return [self._line(slice_) for slice_ in self.slices]

    def _line(self, slice_: Slice) -> str:
        counts = f"{counted(len(slice_.vms), 'VM')}, {counted(len(slice_.links), 'link')}"
        note = owner_note(slice_, self.viewer)
        owner = f", {note}" if note else ""
        return f"Slice {slice_.slice_id}: {slice_.name or NOTHING}, {slice_.status}, {counts}{owner}"


@dataclass(frozen=True)
class SliceView:
    """The topology of a slice: all VMs, interfaces and connections, its problems, and its owner for another viewer."""

    slice_: Slice
    viewer: str = ""
    problems: SliceProblems | None = None

    def drawn(self) -> rich_parts.RenderableType:
        """Return a tree, on a wide terminal with the picture beside it."""
        slice_ = self.slice_
        status = (slice_.status.value, STATUS_STYLES.get(slice_.status.value, ""))
        number = (f"Slice {slice_.slice_id}", HEAD)
        heading = rich_parts.Text.assemble(number, f"  {clean(slice_.name)}  ", status, (f"  {self._pool}", DIM))
        if note := owner_note(slice_, self.viewer):
            heading.append(f"  {note}", HEAD)
        tree = rich_parts.Tree(heading, guide_style=DIM)
        vms = vms_of(slice_)
        for vm in vms:
            branch = tree.add(_vm_text(vm))
            for text in _interface_texts(vm.interfaces):
                branch.add(text)
        if not vms:
            tree.add(rich_parts.Text("no VMs yet", DIM))
        if self.problems:
            _add_problems(tree, self.problems)
        for item in slice_.left:
            tree.add(rich_parts.Text(f"still to be removed: {clean(item)}", "yellow"))
        return Beside(rich_parts.Padding(tree, (1, 0, 0, 0)), lambda utf8: small_picture(slice_, utf8=utf8))

    def lines(self) -> list[str]:
        """Return one line for the slice, and one per VM, interface, problem, advice and left part."""
        slice_ = self.slice_
        lines = [f"Slice {slice_.slice_id}: {slice_.name or NOTHING}, {slice_.status}, {self._pool}{self._owner}"]
        for vm in vms_of(slice_):
            lines.append(
                f"  VM {vm.vm_id}: {vm.name}, worker {vm.worker}, {_ways_in(vm)}, flavor {vm.flavor}, {vm.status}"
            )
            lines.extend(
                f"    VM {vm.vm_id} {interface.title}: MAC {interface.mac}, VLAN {interface.vlan}, "
                f"address {interface.address}, {interface.connected_to}"
                for interface in vm.interfaces
            )
        if self.problems:
            lines += (f"  problem: {problem}" for problem in self.problems.sentences)
            lines += (f"    do: {advice}" for advice in self.problems.advice)
        return [*lines, *(f"  still to be removed: {item}" for item in slice_.left)]

    @property
    def _owner(self) -> str:
        note = owner_note(self.slice_, self.viewer)
        return f", {note}" if note else ""

    @property
    def _pool(self) -> str:
        realm = f"realm {self.slice_.realm}, " if self.slice_.realm else ""
        return f"{realm}VLANs {self.slice_.vlan_pool_start}-{self.slice_.vlan_pool_end}"


def _add_problems(tree: rich_parts.Tree, problems: SliceProblems) -> None:
    """Add the problems of a slice to its tree, with the advice below the last one."""
    branch = tree
    for problem in problems.sentences:
        branch = tree.add(rich_parts.Text(f"problem: {clean(problem)}", BAD_STATE))
    for advice in problems.advice:
        branch.add(rich_parts.Text(f"do: {clean(advice)}", WARNING))


@dataclass(frozen=True)
class ReachView:
    """The ways to reach the VMs of a slice that was just deployed."""

    slice_: Slice

    def drawn(self) -> rich_parts.RenderableType:
        """Return a tree."""
        tree = rich_parts.Tree(rich_parts.Text(self._title, HEAD), guide_style=DIM)
        for vm in vms_of(self.slice_):
            branch = tree.add(rich_parts.Text.assemble((vm.name, HEAD), f"  VM {vm.vm_id}  {_ways_in(vm)}"))
            for text in _address_texts(vm):
                branch.add(text)
        return rich_parts.Group(tree, rich_parts.Text(CONSOLE_HINT))

    def lines(self) -> list[str]:
        """Return one line per VM."""
        lines = [f"{self._title}:"]
        for vm in vms_of(self.slice_):
            addresses = (f"{i.title} {i.address} ({i.connected_to})" for i in _with_address(vm))
            lines.append(f"  VM {vm.vm_id} ({vm.name}): {', '.join([*addresses, _ways_in(vm)])}")
        return [*lines, CONSOLE_HINT]

    @property
    def _title(self) -> str:
        return f"How to reach the VMs of {slice_title(self.slice_)}"


def _with_address(vm: VMTexts) -> list[InterfaceTexts]:
    return [interface for interface in vm.interfaces if interface.address != NOTHING]


def _address_texts(vm: VMTexts) -> list[rich_parts.Text]:
    shown = _with_address(vm)
    width = max((len(interface.address) for interface in shown), default=0)
    return [rich_parts.Text(f"{i.title:5}  {i.address:{width}}  {i.connected_to}") for i in shown]


def _ways_in(vm: VMTexts) -> str:
    """Return the VM's screen, and the user of a guest with a seed."""
    screen = f"VNC {vm.vnc} password {vm.vnc_password}" if vm.vnc_password else f"VNC {vm.vnc}"
    screen += " (its console)" if vm.uses_screen else ""
    return f"{screen}, user {vm.login}" if vm.login else screen


def _vm_text(vm: VMTexts) -> rich_parts.Text:
    """Return two lines about a VM."""
    status = (vm.status, STATUS_STYLES.get(vm.status, ""))
    return rich_parts.Text.assemble(
        (vm.name, HEAD), f"  VM {vm.vm_id}  ", status, f"  {vm.flavor}  on {vm.worker}\n", (_ways_in(vm), DIM)
    )


def _interface_texts(interfaces: Sequence[InterfaceTexts]) -> list[rich_parts.Text]:
    """Return one text per interface, with aligned columns."""
    names, vlans, addresses = (
        max((len(text) for text in texts), default=0)
        for texts in (
            [interface.title for interface in interfaces],
            [interface.vlan for interface in interfaces],
            [interface.address for interface in interfaces],
        )
    )
    return [
        rich_parts.Text.assemble(
            (f"{interface.title:{names}}", "cyan"),
            f"  {interface.mac}  VLAN {interface.vlan:{vlans}}  {interface.address:{addresses}}  ",
            (interface.connected_to, "" if interface.connected else DIM),
        )
        for interface in interfaces
    ]


def new_table(*columns: str, title: str) -> rich_parts.Table:
    """Return a table that wraps long cells."""
    table = rich_parts.Table(
        box=rich_parts.ROUNDED,
        title=rich_parts.Text(title, HEAD),
        title_justify="left",
        caption_justify="left",
        border_style=DIM,
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

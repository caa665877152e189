"""Carry out each numbered entry of the menu: ask, call a use-case, show the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from accounts import rights
from accounts.rights import check_new_name, way_to_run
from core.errors import CloudError
from core.flavors import Devices
from core.results import value_of
from menu import plans
from menu.images import manage_images
from menu.links import change_links
from menu.picking import ask_for_slice, ask_for_slice_id, ask_for_vm_of
from menu.pictures import picture_lines
from menu.plans import Depth
from menu.power import change_power
from menu.reach import open_console, reach_a_vm
from menu.readiness import watch_boot
from menu.screen import GOOD, WARNING, Screen, clean
from menu.session import EXIT, LOGOUT, Entry, Session
from menu.texts import NO_SLICES, by_id, counted, demand_line, flavor_size, linkable_lines, title_for
from menu.verdict import VerdictView
from menu.views import ReachView, ResourcesView, SliceView
from models import VM, Slice
from remote.events import ignore

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI
    from topology.design import Design

MOST_FILES = 50
"""Names of slice files that are listed."""

_TEMPLATE = "A template is a kind and its size, such as ring:6"
_FILE = "A slice file is one of these names, with its ending"

_DEPTHS = {"c": Depth.COMMANDS.value, "s": Depth.SCRIPTS.value, "": "the menu"}
"""The answers after a plan, and what each of them shows."""


def view_resources(session: Session) -> None:
    """Show quota, workers and flavors as they are now."""
    session.show(resources_of(session.api, session.actor, session.screen))
    session.same_as("quota")


def resources_of(api: OrchestratorAPI, actor: str, screen: Screen) -> ResourcesView:
    """Return quota, workers and flavors as they are now; `screen` shows the wait for the workers."""
    user = value_of(api.get_user(actor))
    with screen.waiting("Looking at the workers"):
        workers = value_of(api.discover_workers())
    return ResourcesView(user, workers, value_of(api.flavors(actor)), value_of(api.most_slices(actor)))


def create_slice(session: Session) -> None:
    """Create a slice with a name."""
    name = session.ask.name("Slice name: ", "A slice name")
    slice_ = value_of(session.api.create_slice(session.actor, name))
    session.last.slice_id = slice_.slice_id
    session.say(f"Slice created! ID: {slice_.slice_id}")


def add_vm(session: Session) -> None:
    """Add a VM to a slice, with its disk on a worker."""
    slice_ = ask_for_slice(session, "Slice ID: ")
    slice_id = slice_.slice_id
    name = session.ask.checked(
        lambda: session.ask.name("VM name: ", "A VM name"), lambda name: rights.check_new_name(name, "VM")
    )
    flavor, devices = _ask_for_flavor(session)
    count = session.ask.number(
        "Number of data interfaces (eth1, eth2, ...): ",
        "The number of data interfaces",
        devices.min_nics,
        devices.max_nics,
    )
    internet = session.ask.yes("Enable internet access (eth0 in VLAN 400)? (y/n): ")
    with session.progress() as listen:
        answer = session.api.add_vm_to_slice(session.actor, slice_id, name, flavor, count, internet, listen)
    vm = value_of(answer)
    session.last.vm_id = vm.vm_id
    session.say(f"VM added! ID: {vm.vm_id}, VNC: {vm.vnc_port}, Flavor: {flavor}")
    online = ["--internet"] if internet else []
    session.same_as("add-vm", session.word_for(slice_), name, flavor, "--nics", str(count), *online)


def create_link(session: Session) -> None:
    """Create a link between two data interfaces of a slice's VMs."""
    slice_ = ask_for_slice(session, "Slice ID: ")
    for line, free in linkable_lines(slice_):
        session.screen.line(line, WARNING if free else "")
    _require_two_ends(slice_)
    vm1_id = _ask_for_vm(session, slice_, "First VM ID: ")
    vm1_interface = _ask_for_interface(session, slice_, vm1_id, "First VM interface (e.g., eth1): ")
    vm2_id = _ask_for_vm(session, slice_, "Second VM ID: ", vm1_id)
    vm2_interface = _ask_for_interface(session, slice_, vm2_id, "Second VM interface (e.g., eth1): ")
    ends = (vm1_id, vm1_interface, vm2_id, vm2_interface)
    with session.progress() if slice_.is_running else nullcontext(ignore) as listen:
        answer = session.api.create_link(session.actor, slice_.slice_id, *ends, listen)
    link = value_of(answer)
    session.say(f"Link created! VLAN: {link.vlan_id}")
    names = {vm.vm_id: vm.name for vm in slice_.vms}
    named = (f"{names[vm_id]}:{interface}" for vm_id, interface in link.ends)
    session.same_as("link", session.word_for(slice_), *named)


def view_slices(session: Session) -> None:
    """Show all slices that the user may work on, with their VMs and problems."""
    slices = by_id(value_of(session.api.list_slices(session.actor)))
    with session.screen.waiting("Looking at the hosts"):
        problems = value_of(session.api.problems(session.actor))
    for slice_ in slices:
        session.show(SliceView(slice_, session.actor, problems.get(slice_.slice_id)))
    if not slices:
        session.screen.line(NO_SLICES)
    session.same_as("list")


def deploy_slice(session: Session) -> None:
    """Deploy a slice and show the ways to its VMs."""
    _deploy(session, ask_for_slice_id(session, "Slice ID to deploy: "))


def _deploy(session: Session, slice_id: int) -> None:
    with session.progress() as listen:
        answer = session.api.deploy_slice(session.actor, slice_id, listen)
    slice_ = value_of(answer)
    session.say("Slice deployed successfully")
    session.show(ReachView(slice_))
    if session.screen.terminal:
        watch_boot(session, slice_id)
    session.same_as("deploy", session.word_for(slice_))


def repair_slice(session: Session) -> None:
    """Repair a running slice and list the parts that were brought back."""
    slice_id = ask_for_slice_id(session, "Slice ID to repair: ")
    with session.progress() as listen:
        answer = session.api.repair_slice(session.actor, slice_id, listen)
    show_repaired(value_of(answer), session.screen)
    session.same_as("repair", session.word_for(value_of(session.api.get_slice(session.actor, slice_id))))


def show_repaired(repaired: Sequence[str], screen: Screen) -> None:
    """Show the parts that a repair brought back."""
    if not repaired:
        screen.line("Nothing was missing: 0 changes", GOOD)
        return
    screen.line(f"Slice repaired: {counted(len(repaired), 'change')}", GOOD)
    for part in repaired:
        screen.line(f"  brought back: {part}")


def prove_isolation(session: Session) -> None:
    """Check from the hosts that slices are kept apart, without touching guests."""
    with session.screen.waiting("Looking at the hosts"):
        verdict = value_of(session.api.prove_isolation(session.actor))
    session.show(VerdictView(verdict))


def delete_slice(session: Session) -> None:
    """Delete a slice and all its parts after a question."""
    slice_ = ask_for_slice(session, "Slice ID: ", repeats=False)
    if not session.ask.yes(deletion_question(slice_, session.actor)):
        session.screen.line("Nothing was deleted")
        return
    with session.progress() as listen:
        answer = session.api.delete_slice(session.actor, slice_.slice_id, listen)
    value_of(answer)
    session.say("Slice deleted")
    session.same_as("delete", session.word_for(slice_))


def show_plan(session: Session) -> None:
    """Show the titles of a slice's plan. On a terminal, offer its commands and scripts too."""
    slice_ = ask_for_slice(session, "Slice ID: ")
    plan = value_of(session.api.plan_slice(session.actor, slice_.slice_id))
    depth = Depth.TITLES
    while True:
        plans.show(session.screen, plan, depth, slice_, session.actor, way_to_run(slice_))
        session.same_as("plan", session.word_for(slice_), *([] if depth is Depth.TITLES else [f"--{depth.value}"]))
        if not session.screen.terminal or not any(plan.steps):
            return
        answer = session.ask.letter("Show commands (c), scripts (s), or Enter: ", _DEPTHS)
        if not answer:
            return
        depth = Depth(_DEPTHS[answer])


def show_picture(session: Session) -> None:
    """Show the VMs, links and addresses of a slice as a wiring diagram."""
    slice_ = ask_for_slice(session, "Slice ID: ")
    for line in picture_lines(slice_, utf8=session.screen.is_utf8):
        session.screen.line(line)
    session.same_as("graph", session.word_for(slice_))


def change_password(session: Session) -> None:
    """Change the user's password, which needs the current one."""
    current = session.ask.secret("Current password: ")
    value_of(session.api.change_password(session.actor, current, session.ask.new_password()))
    session.say("Password changed")


def make_at_once(session: Session) -> None:
    """Offer the ways to make a whole slice at once: from a template, or from a file of the operator's folder."""
    succeeded, files = session.api.designs.files(session.actor)
    if isinstance(files, str) or not succeeded:
        session.screen.error(str(files))
        files = []
    ways: dict[str, Callable[[Session], None]] = {"A slice from a template": create_from_template}
    if files:
        title = f"A slice from a slice file ({counted(len(files), 'file')})"
        ways[title] = lambda session: create_from_file(session, files)
    session.ask.pick(f"Choose a way (1-{len(ways)}): ", ways)(session)


def create_from_file(session: Session, files: Sequence[str]) -> None:
    """Create a slice from a slice file of the operator's folder, and offer to deploy it."""
    from topology.faults import BadSliceFile  # noqa: PLC0415 - not needed for the menu's first prompt

    listed = [f"  {file}" for file in files[:MOST_FILES]]
    if len(files) > MOST_FILES:
        listed.append(f"  and {len(files) - MOST_FILES} more")
    for line in listed:
        session.screen.line(line)
    file = session.ask.checked(
        lambda: session.ask.text("Slice file: ", "The name of a slice file", choices=listed, explained=_FILE),
        lambda name: _require_file(name, files),
    )
    try:
        design = value_of(session.api.designs.read_file(session.actor, file))
    except BadSliceFile as faults:
        for fault in str(faults).splitlines():
            session.screen.error(f"{file}, {fault}")
        return
    own = {slice_.name for slice_ in value_of(session.api.list_slices(session.actor)) if slice_.owner == session.actor}
    if design.name in own:
        session.screen.line(f"You have a slice {design.name} already; give this one another name")
        design = replace(design, name=_ask_for_new_name(session))
    _create(session, design, file)


def _require_file(name: str, files: Sequence[str]) -> None:
    if name not in files:
        raise CloudError(f"There is no file {clean(name)}; write a name of the list, with its ending")


def create_from_template(session: Session) -> None:
    """Create a slice with all VMs and links of a template, and offer to deploy it."""
    from topology import templates  # noqa: PLC0415 - not needed for the menu's first prompt

    kinds = [f"  {line}" for line in templates.lines()]
    for line in kinds:
        session.screen.line(line)
    template = session.ask.checked(
        lambda: session.ask.text("Kind and size (e.g., ring:6): ", "A template", choices=kinds, explained=_TEMPLATE),
        lambda text: templates.make(text, "", ""),
    )
    flavor, _ = _ask_for_flavor(session)
    internet = session.ask.option("Internet access (all, none or first): ", templates.INTERNET)
    name = _ask_for_new_name(session)
    words = ("create", "--template", template, "--name", name, "--flavor", flavor, "--internet", internet)
    _create(session, templates.make(template, name, flavor, internet), template, *words)


def _ask_for_new_name(session: Session) -> str:
    return session.ask.checked(lambda: session.ask.name("Slice name: ", "A slice name"), check_new_name)


def _create(session: Session, design: Design, source: str, *words: str) -> None:
    """Create a slice from a design, and offer to deploy it; `words` are the command that does the same."""
    session.screen.line(demand_line(source, value_of(session.api.designs.demand(session.actor, design))))
    with session.progress() as listen:
        answer = session.api.designs.create(session.actor, design, listen)
    slice_ = value_of(answer)
    session.last.slice_id = slice_.slice_id
    session.say(f"Slice created! ID: {slice_.slice_id}")
    if words:
        session.same_as(*words)
    if session.ask.yes("Deploy it now? (y/n): "):
        _deploy(session, slice_.slice_id)


def _leave(_session: Session) -> None:
    """Do nothing: `use_menu` handles the entries that leave."""


ENTRIES = (
    Entry(1, "View quota and resources", view_resources),
    Entry(2, "Create Slice", create_slice),
    Entry(3, "Add VM to Slice", add_vm),
    Entry(4, "Create Link between VMs", create_link),
    Entry(5, "View my Slices", view_slices),
    Entry(6, "Deploy Slice", deploy_slice),
    Entry(7, "Delete Slice", delete_slice),
    Entry(LOGOUT, "Logout", _leave),
    Entry(9, "Open a VM's console", open_console),
    Entry(10, "Show the plan of a Slice", show_plan),
    Entry(11, "Repair Slice", repair_slice),
    Entry(12, "Change my password", change_password),
    Entry(13, "Prove isolation", prove_isolation),
    Entry(14, "Templates and slice files", make_at_once),
    Entry(15, "Start, stop, reset, snapshots", change_power),
    Entry(16, "Change links", change_links),
    Entry(17, "Picture of a Slice", show_picture),
    Entry(18, "Reach a VM", reach_a_vm),
    Entry(21, "Images and flavors", manage_images, for_admins=True),
    Entry(EXIT, "Exit", _leave),
)


def _require_two_ends(slice_: Slice) -> None:
    if len([vm for vm in slice_.vms if _can_be_linked(vm)]) < 2:
        rights.require_editable(slice_)
        raise CloudError(
            f"Slice {slice_.slice_id} needs two VMs with an unconnected data interface; 3 (Add VM to Slice) adds a VM"
        )


def _can_be_linked(vm: VM) -> bool:
    return any(interface.can_be_linked for interface in vm.interfaces)


def _ask_for_vm(session: Session, slice_: Slice, prompt: str, other_id: int | None = None) -> int:
    """Ask for a VM to link, which has a free interface and is not the VM `other_id`."""

    def check(vm_id: int) -> None:
        vm = slice_.vm_to_link(vm_id, other_id)
        if not _can_be_linked(vm):
            raise CloudError(f"VM {vm_id} ({vm.name}) has no unconnected data interface; choose another VM")

    return ask_for_vm_of(session, slice_, prompt, check)


def _ask_for_interface(session: Session, slice_: Slice, vm_id: int, prompt: str) -> str:
    """Ask for a free interface of a VM."""
    vm = slice_.vm(vm_id)
    free = [each.name for each in vm.interfaces if each.can_be_linked] if vm else []
    return session.ask.checked(
        lambda: session.ask.interface(prompt, free), lambda name: slice_.free_interface(vm_id, name)
    )


def _ask_for_flavor(session: Session) -> tuple[str, Devices]:
    """List all flavors, and return the name and the devices of the chosen one."""
    flavors = value_of(session.api.flavors(session.actor))
    titles = {f"{name} ({flavor_size(flavor.size)})": name for name, flavor in flavors.items()}
    chosen = session.ask.pick(f"Choose flavor (1-{len(flavors)}): ", titles, [*flavors])
    return chosen, flavors[chosen].devices


def deletion_question(slice_: Slice, viewer: str) -> str:
    """Return the question before a deletion, with the slice and its VMs."""
    title = title_for(slice_, viewer)
    names = ", ".join(clean(vm.name) for vm in slice_.vms)
    vms = f" with its VMs {names}" if names else ", which has no VMs"
    if any(vm.snapshots for vm in slice_.vms):
        vms += " and all snapshots of them"
    return f"Delete {title}{vms}? (y/n): "

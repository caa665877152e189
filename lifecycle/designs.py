"""The use-cases of whole designs: read a slice file, convert a foreign topology, and create a slice at once."""

from __future__ import annotations

from contextlib import ExitStack

from accounts import rights
from accounts.use_cases import UseCase
from core.errors import Refused
from core.results import value_of
from deployment import DeploymentAPI
from lifecycle.creation import Demand, check_design, demand_of, designed_slice
from lifecycle.files import file_names, text_of
from lifecycle.use_cases import SliceUseCases
from models import Slice
from remote.events import Listener, ignore
from remote.plan import Plan
from topology.design import Design
from topology.imports.builder import Flavors, ForeignSize
from topology.imports.convert import convert
from topology.reader import read


class Designs(SliceUseCases):
    """Reads whole designs, and creates slices from them."""

    @UseCase()
    def read(self, actor: str, text: str) -> Design:
        """Return the design of a slice file, checked against the cloud's flavors and its internet network."""
        state = self._database.load()
        rights.user_of(state, actor)
        return read(text, state.all_flavors, state.inventory.internet.network)

    @UseCase()
    def files(self, actor: str) -> list[str]:
        """Return the names of the slice files that the operator opens to users; none without `files_dir`."""
        state = self._database.load()
        rights.require_user(state, actor)
        return file_names(state.inventory.files_dir) if state.inventory.files_dir else []

    @UseCase()
    def read_file(self, actor: str, name: str) -> Design:
        """Return the design of one of these files, checked as by `read`."""
        folder = self._database.load().inventory.files_dir
        if not folder:
            raise Refused("There is no folder of slice files here; send the file with the command create")
        return value_of(self.read(actor, text_of(folder, name)))

    @UseCase()
    def convert(self, actor: str, text: str, tool: str) -> tuple[str, list[str]]:
        """Return a foreign topology as a slice file, and what was left out of it."""
        state = self._database.load()
        rights.user_of(state, actor)
        sizes = {name: ForeignSize(each.cores or 0, each.ram_gb or 0) for name, each in state.all_flavors.items()}
        imports = state.imports
        return convert(text, Flavors(sizes, imports.kinds, imports.default), tool)

    @UseCase()
    def demand(self, actor: str, design: Design) -> Demand:
        """Return the size of a design, beside the room of the workers and the user's quota."""
        self._discovery.known()
        return demand_of(self._database.load(), actor, design)

    @UseCase()
    def plan(self, actor: str, design: Design, realm: str = "") -> tuple[Slice, Plan]:
        """Return the slice that a design would be now, and the plan of its disks; fail where it cannot be made."""
        state = self._database.load()
        check_design(state, design)
        slice_ = designed_slice(state, actor, design, realm)
        return slice_, DeploymentAPI(state.inventory_of(slice_)).disk_plan(slice_, slice_.vms)

    @UseCase("create slice")
    def create(self, actor: str, design: Design, listen: Listener = ignore, *, realm: str = "") -> Slice:
        """Create a slice with all VMs, disks and links of a design. If a disk fails, nothing of it is left.

        `realm` names its realm; else the first one with room takes it.
        The slice is claimed before other sessions can see it, because it is unfinished until its disks are made.
        """
        check_design(self._database.load(), design)
        self._discovery.refresh(lambda state: designed_slice(state, actor, design, realm).workers)
        with ExitStack() as claimed:
            with self._database.transaction() as state:
                slice_ = designed_slice(state, actor, design, realm)
                change = claimed.enter_context(self._changes.of(slice_.slice_id, listen, slice_.realm))
            change.make_disks(slice_, slice_.vms)
        return slice_

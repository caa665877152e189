"""Write the page of a plan: what entry 10 shows for the slice of docs/getting-started.md."""

from __future__ import annotations

from allocation.taken import taken_by
from core.inventory import Inventory, Worker
from deployment import DeploymentAPI
from docs.reference.markdown import page
from menu.plans import Depth, plan_lines
from models import Flavor, Slice

WIDTH = 120
_FIRST_ID = 1000
_WORKER = Worker(max_cores=8, max_ram_gb=32, max_disk_gb=500)

_INTRODUCTION = """
This is what a deployment does on hosts of your own, for the slice of [getting-started.md](../getting-started.md): two
VMs with a link, one of them with internet access. Entry 10 of the menu shows it before you deploy, and so does
`python3 cli.py plan 1000`. For each step it says what the step makes, and what its undo does with that.
"""


def plan_page() -> str:
    """Return the page."""
    slice_ = first_slice()
    plan = DeploymentAPI(Inventory()).deploy_plan(slice_, new=True)
    purpose = f"to deploy slice {slice_.slice_id} ({slice_.name})"
    lines = [line.text for line in plan_lines(plan, Depth.TITLES, WIDTH, purpose)]
    return page("A plan", _INTRODUCTION, "\n".join(("```", *lines, "```")))


def first_slice() -> Slice:
    """Return the slice in design, on two workers that are equal."""
    deployment, inventory = DeploymentAPI(Inventory()), Inventory()
    workers = dict.fromkeys(inventory.workers_list, _WORKER)
    slice_ = Slice(_FIRST_ID, "student")
    slice_.name = "first"
    for vm_id, name, internet in ((_FIRST_ID + 1, "web", True), (_FIRST_ID + 2, "db", False)):
        live = taken_by([slice_])
        deployment.create_vm_with_qcow(
            slice_, vm_id, name, "cirros", Flavor.from_dict(Flavor.FLAVORS["cirros"]), 1, internet, workers, live
        )
    slice_.connect(_FIRST_ID + 1, "eth1", _FIRST_ID + 2, "eth1")
    return slice_

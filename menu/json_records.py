"""Records of `--json`: plans, pictures and accounts in values of JSON. `menu.words.add_json` documents their keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from menu.plan_titles import counts

if TYPE_CHECKING:
    from models import User
    from remote.plan import Plan
    from topology.compare import Difference
    from topology.picture import Picture

Json = dict[str, Any]


def plan_record(plan: Plan, differences: Iterable[Difference] = ()) -> Json:
    """Return the counts of a plan, the differences that it makes, and its steps in their order."""
    changes, checks, hosts = counts(plan)
    steps = [
        {"stage": stage.title, "host": step.host, "title": step.title, "objects": list(step.objects)}
        for stage in plan.stages
        for step in stage.steps
    ]
    found = [
        {"kind": each.kind, "name": each.name, "effect": each.effect.value, "fields": dict(each.fields)}
        for each in differences
    ]
    return {"counts": {"changes": changes, "checks": checks, "hosts": hosts}, "differences": found, "steps": steps}


def picture_record(picture: Picture) -> Json:
    """Return the VMs and links of a picture, with the names of VMs at the ends."""
    names = [vm.name for vm in picture.vms]
    vms = [{"name": vm.name, "flavor": vm.flavor, "state": vm.state} for vm in picture.vms]
    links = [
        {
            "name": link.name,
            "network": link.network,
            "ends": [{"vm": names[end.vm], "nic": end.nic, "address": end.address or None} for end in link.ends],
        }
        for link in picture.links
    ]
    return {"title": picture.title, "vms": vms, "links": links}


def user_record(user: User, most_slices: int) -> Json:
    """Return an account without its secrets."""
    quota = {"used_vms": user.used_vms, "quota_vms": user.quota_vms}
    slices = {"slices": sorted(user.slices), "quota_slices": most_slices}
    return {"username": user.username, "role": user.role} | quota | slices

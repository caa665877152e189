"""All use-cases by name: `deploy_slice` is a method of the API itself, `designs.create` belongs to a group."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from accounts.keys import PublicKeys
from accounts.use_cases import UseCases
from lifecycle.designs import Designs
from lifecycle.edits import Edits
from lifecycle.groups import Groups
from lifecycle.images import Images
from lifecycle.power import Power
from lifecycle.reach import Reach
from lifecycle.readiness import Readiness
from lifecycle.snapshots import Snapshots
from orchestrator import OrchestratorAPI

GROUPS: dict[str, type[UseCases]] = {
    "designs": Designs,
    "edits": Edits,
    "images": Images,
    "keys": PublicKeys,
    "power": Power,
    "snapshots": Snapshots,
    "reach": Reach,
    "readiness": Readiness,
}
"""The groups of use-cases, by the attribute of the API; a test holds that it is complete."""


def names() -> set[str]:
    """Return the names of all use-cases."""
    own = set(_methods(OrchestratorAPI))
    return own | {f"{group}.{name}" for group, cls in GROUPS.items() for name in _methods(cls)}


def method(api: OrchestratorAPI, name: str) -> Callable[..., Any]:
    """Return a use-case by its name."""
    found: Callable[..., Any] = attrgetter(name)(api)
    return found


def offered(api: OrchestratorAPI) -> set[str]:
    """Return the groups that an API offers."""
    lazy = (name for name, value in vars(Groups).items() if isinstance(value, functools.cached_property))
    return {name for name in lazy if isinstance(getattr(api, name), UseCases)}


def _methods(cls: type[UseCases]) -> list[str]:
    return [name for name, _ in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")]

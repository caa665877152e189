"""The states of slices, VMs and networks. Adding a state is one line here: the file's rules follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The checker sees no text, so that it refuses a comparison with one: a misspelt text would never be equal.
    from enum import Enum as StrEnum
else:
    # At run time a state equals its documented text, as in `vm.status == "running"`.
    from enum import StrEnum


class SliceStatus(StrEnum):
    """The state of a slice. `creating`, `deploying` and `deleting` are written before the first command goes to a host.

    A slice is in `creating` only while all its VMs are made at once.
    """

    CREATING = "creating"
    DESIGN = "design"
    DEPLOYING = "deploying"
    RUNNING = "running"
    DELETING = "deleting"


class VMStatus(StrEnum):
    """The state of a VM: `pending` while its disk is made, `design` with a disk, then `running` or `stopped`.

    A VM is `stopped` by its user only. One that ends by itself is still `running` here, because the database decides.
    """

    PENDING = "pending"
    DESIGN = "design"
    RUNNING = "running"
    STOPPED = "stopped"


class VMStart(StrEnum):
    """The start of a VM: `auto` is by the deployment of its slice, `manual` is by its user."""

    AUTO = "auto"
    MANUAL = "manual"


class NetworkStatus(StrEnum):
    """The state of a link's network: `running` while the slice is deployed."""

    PENDING = "pending"
    RUNNING = "running"


class LinkState(StrEnum):
    """The state of a link: `down` takes the carrier from its ends, `silent` drops all frames and leaves the carrier."""

    UP = "up"
    DOWN = "down"
    SILENT = "silent"

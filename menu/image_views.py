"""Show base images and flavors: each view is a table for a terminal and plain lines with the same facts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from menu import rich_parts
from menu.screen import clean
from menu.texts import NOTHING, counted, flavor_size, mib
from menu.views import new_table
from models import Flavor

if TYPE_CHECKING:
    from lifecycle.images import Added, BaseImage, Staged

_SHORT = 12
"""Characters of a digest that tell two images apart."""


@dataclass(frozen=True)
class ImagesView:
    """The base images, with what names them and who has them."""

    images: Sequence[BaseImage]

    def drawn(self) -> rich_parts.RenderableType:
        """Return a table; below it is what is wrong with an image."""
        shown = new_table("Image", "Size", "Disk", "SHA-256", "Flavors", "Workers", "VMs", title="Base images")
        for image in self.images:
            digest = (image.sha256 or NOTHING)[:_SHORT]
            counts = (_listed(image.flavors), _listed(_workers(image)), str(len(image.vms)))
            shown.add_row(clean(image.name), *_amounts(image), digest, *map(clean, counts))
        problems = "\n".join(clean(image.problem) for image in self.images if image.problem)
        shown.caption = rich_parts.Text(problems, "yellow") if problems else None
        return shown

    def lines(self) -> list[str]:
        """Return a line for each image."""
        return [_line(image) for image in self.images] or ["There are no base images"]


@dataclass(frozen=True)
class FlavorsView:
    """The flavors with their sizes, images and devices; usual devices are left out."""

    flavors: Mapping[str, Flavor]

    def drawn(self) -> rich_parts.RenderableType:
        """Return a table."""
        shown = new_table("Flavor", "Size", "Base image", "Devices", title="Flavors")
        for name, flavor in self.flavors.items():
            cells = flavor_size(flavor.size), flavor.image or NOTHING, _devices(flavor) or "usual"
            shown.add_row(clean(name), *map(clean, cells))
        return shown

    def lines(self) -> list[str]:
        """Return a line for each flavor."""
        return [
            f"Flavor {name}: {flavor_size(flavor.size)}, base image {flavor.image or NOTHING}; devices: "
            f"{_devices(flavor) or 'usual'}"
            for name, flavor in self.flavors.items()
        ]


def added_line(added: Added, result: str) -> str:
    """Return the sentence about an image that was added."""
    made = added.made
    made_of = "" if made.made_of.value == "qcow2" else f", made of a {made.made_of.value} file"
    return (
        f"{result} Name: {made.path.name}, {mib(made.size)}{made_of}, disk: {mib(made.virtual_size)}, "
        f"SHA-256: {made.sha256}"
    )


def flavor_hint(added: Added) -> str:
    """Return an entry of `flavors` in `database.yaml` that uses an image."""
    path = added.made.path
    disk = math.ceil(added.made.virtual_size / (1 << 30) * 100) / 100
    return (
        "A flavor with it, under flavors: in database.yaml (docs/flavors.md has more): "
        f"{path.name.partition('.')[0][:32]}: {{cores: 1, ram_gb: 1, disk_gb: {disk:g}, image: {path}}}"
    )


def staged_line(staged: Staged) -> str:
    """Return the sentence about an image that is on workers."""
    brought, there = (", ".join(hosts) or "no worker" for hosts in (staged.brought, staged.there))
    return f"Image staged! Name: {staged.name}, brought to: {brought}, already on: {there}"


def _line(image: BaseImage) -> str:
    size, disk = _amounts(image)
    parts = (
        f"Image {image.name}: {size}, disk {disk}, SHA-256 {image.sha256 or NOTHING}",
        f"flavors: {_listed(image.flavors)}",
        f"workers: {_listed(_workers(image))}",
        counted(len(image.vms), "VM"),
        *([f"problem: {image.problem}"] if image.problem else []),
    )
    return "; ".join(parts)


def _amounts(image: BaseImage) -> tuple[str, str]:
    """Return the sizes of file and disk; none where the manager does not have the image."""
    size = NOTHING if image.size is None else mib(image.size)
    return size, NOTHING if image.virtual_size is None else mib(image.virtual_size)


def _workers(image: BaseImage) -> list[str]:
    """Return the workers that have an image. A file of another size there is another image."""
    other = "" if image.size is None else " (another file)"
    return [f"{address}{'' if size == image.size else other}" for address, size in image.workers.items()]


def _devices(flavor: Flavor) -> str:
    """Return the devices of a flavor that are not the usual ones."""
    return ", ".join(f"{name} {value}" for name, value in flavor.devices.to_dict().items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or NOTHING

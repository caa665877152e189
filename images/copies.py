"""Base images on workers, as steps: brought from the manager, listed, removed."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from core.errors import BadAnswer, figure
from core.names import is_image_name, upload_part
from remote.plan import Command, Step, Upload
from shell.scripts import load

_CHECK_IMAGE = load("disks/check-image")
_HAS_FINGERPRINT = load("disks/has-fingerprint")
_KEEP_FINGERPRINT = load("disks/keep-fingerprint")
_LIST_IMAGES = load("disks/list-images")
_REMOVE_IMAGE = load("disks/remove-image")

IMAGES = "base images"
"""The name of the answer about base images on a worker."""

_LARGEST = 1 << 56


class Copies:
    """Plans the base images in a worker's folder; the settings name it (`images_path`)."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def paths(self, name: str) -> tuple[str, str]:
        """Return a base image on a worker, and its fingerprint: size and time of change at its first use."""
        return f"{self._folder}/{name}", f"{self._folder}/.{name}.seal"

    def cache(self, worker: str, image: str, owner: str) -> Step:
        """Return the step that brings a base image of the manager to a worker which does not have it.

        `owner` names the unfinished copy: the part of a slice, or `STAGED`.
        """
        name = PurePosixPath(image).name
        target, fingerprint = self.paths(name)
        part, prepared = (f"{self._folder}/{upload_part(each, owner)}" for each in (name, f"{name}.seal"))
        is_there = ("test", "-s", target)
        whole = _CHECK_IMAGE.argv(part, f"{image} on the manager", "replace it", prepared)
        advice = "remove it there, and a good one is brought"
        return Step(
            worker,
            f"base image {name}",
            do=(
                Command(("mkdir", "-p", self._folder), unless=("test", "-d", self._folder), as_user=True),
                Command(("rm", "-f", fingerprint), unless=is_there, as_user=True),
                Upload(image, target, part, unless=is_there, check=whole, is_image=True),
                Command(
                    _KEEP_FINGERPRINT.argv(target, target, advice, prepared, fingerprint),
                    unless=_HAS_FINGERPRINT.argv(target, fingerprint),
                    as_user=True,
                ),
            ),
            # Where a name is too long for any file, rm(1) fails, and nothing was ever there.
            undo=(Command(("rm", "-f", part, prepared), unless=("test", *_none_of(part, prepared)), as_user=True),),
            residue=f"unfinished copy of {name}",
            objects=(name,),
        )

    def find(self, worker: str) -> Step:
        """Return the read-only step that lists the base images of a worker."""
        return Step(worker, IMAGES, (Command(_LIST_IMAGES.argv(self._folder), as_user=True, name=IMAGES),))

    def remove(self, worker: str, name: str) -> Step:
        """Return the step that removes a base image from a worker, unless a disk there is built on it."""
        target, fingerprint = self.paths(name)
        gone = ("test", *_none_of(target, fingerprint))
        remove = Command(_REMOVE_IMAGE.argv(target, fingerprint), unless=gone, as_user=True)
        return Step(worker, f"base image {name}", (remove,), objects=(name,))


def sizes(output: str) -> dict[str, int]:
    """Return name -> bytes of the base images that a worker listed; raise `BadAnswer` for an invalid line."""
    found: dict[str, int] = {}
    for line in output.splitlines():
        size, blank, name = line.partition(" ")
        if not blank or re.search(r"[/\0]", name) or name in found:
            raise BadAnswer(f"{line[:40]!r} is no base image")
        if is_image_name(name):
            found[name] = figure(size, "is no size of a file", 0, _LARGEST)
    return found


def _none_of(*paths: str) -> tuple[str, ...]:
    """Return the words for test(1) that none of the paths is there."""
    return tuple(word for path in paths for word in ("-a", "!", "-e", path))[1:]

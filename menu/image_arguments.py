"""Define the command lines of the commands about base images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from menu.words import add_actor, add_json

if TYPE_CHECKING:
    from menu.words import Commands

_DONE = "Progress is on standard error. Exit status: 0 done, 1 refused or failed, 2 wrong words"


def add_image_commands(commands: Commands) -> None:
    """Add `image` with its actions."""
    image = commands.add_parser("image", help="manage the base images", description="Manage the base images.")
    actions = image.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser(
        "add",
        help="make a base image of a file",
        description="Make a base image of a file on this machine: qcow2, raw or a CD (ISO), also packed by xz, bzip2 "
        "or gzip. Its format is that of its header, never a guess, and qemu-img checks it. The image lies in the "
        f"folder that images: folder names, and replaces no other. {_DONE}.",
    )
    add.add_argument("path", metavar="PATH", help="the file")
    add.add_argument(
        "--name", metavar="NAME", default="", help="the file name of the base image (default: that of PATH)"
    )
    add.add_argument("--dry-run", action="store_true", help="only check the file")
    listed = actions.add_parser(
        "list",
        help="list the base images",
        description="List the base images with size, disk, SHA-256, the flavors that name them, the workers that have "
        "them, and the VMs on them. Exit status: 0 shown, 1 refused, 2 wrong words, 3 a worker did not answer.",
    )
    add_json(
        listed,
        "{images: [{name, path, size, virtual_size, sha256, flavors, workers, vms, problem}], unseen}",
    )
    stage = actions.add_parser(
        "stage",
        help="bring a base image to workers",
        description="Bring a base image to workers before their first VM needs it, to all of them at the same time. "
        f"{_DONE}.",
    )
    stage.add_argument("name", metavar="NAME", help="the file name of the base image")
    stage.add_argument("workers", metavar="WORKER", nargs="*", help="a worker's address (default: all workers)")
    remove = actions.add_parser(
        "remove",
        help="remove a base image",
        description="Remove a base image from this machine and from all workers, after a question. It is refused while "
        f"a flavor names it or a VM is built on it. {_DONE}.",
    )
    remove.add_argument("name", metavar="NAME", help="the file name of the base image")
    remove.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
    for action in (stage, remove):
        action.add_argument("--dry-run", action="store_true", help="only show the plan")
    for action in (add, listed, stage, remove):
        add_actor(action, argparse.SUPPRESS)

"""Carry out entry 21 of the menu, for admins: flavors with their devices, and base images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from core.results import value_of
from menu.image_views import FlavorsView, ImagesView, staged_line
from menu.screen import WARNING, clean

if TYPE_CHECKING:
    from menu.session import Session

HOW_TO_ADD = "An image is added on the manager, with: python3 cli.py image add PATH"


def manage_images(session: Session) -> None:
    """Offer what admins do with flavors and base images."""
    ways: dict[str, Callable[[Session], None]] = {
        "View flavors and images": _view,
        "Bring an image to all workers": _stage,
        "Remove an image": _remove,
    }
    session.ask.pick(f"Choose (1-{len(ways)}): ", ways)(session)


def _view(session: Session) -> None:
    session.show(FlavorsView(value_of(session.api.flavors(session.actor))))
    with session.screen.waiting("Looking at the workers"):
        listing = value_of(session.api.images.list(session.actor))
    session.show(ImagesView(listing.images))
    for reason in listing.unseen.values():
        session.screen.line(f"Warning: {reason}", WARNING)
    session.screen.line(HOW_TO_ADD)
    session.same_as("image", "list")


def _stage(session: Session) -> None:
    name = _ask_for_image(session)
    with session.progress() as listen:
        answer = session.api.images.stage(session.actor, name, (), listen)
    session.say(staged_line(value_of(answer)))
    session.same_as("image", "stage", name)


def _ask_for_image(session: Session) -> str:
    flavors = value_of(session.api.flavors(session.actor)).values()
    names = sorted({Path(path).name for flavor in flavors for path in flavor.images})
    lines = [f"  {clean(name)}" for name in names]
    explained = "An image is a file name; these are the images of the flavors, way 1 shows all"
    return session.ask.text("Image: ", "The name of an image", choices=lines, explained=explained)


def _remove(session: Session) -> None:
    name = _ask_for_image(session)
    value_of(session.api.images.plan_removal(session.actor, name))
    if not session.ask.yes(f"Remove {name} from the manager and all workers? (y/n): "):
        session.screen.line("Nothing was removed")
        return
    with session.progress() as listen:
        answer = session.api.images.remove(session.actor, name, listen)
    value_of(answer)
    session.say("Image removed")
    session.same_as("image", "remove", name)

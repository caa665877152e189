"""Carry out the commands about base images: `python3 cli.py image add|list|stage|remove`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from core.results import value_of
from menu import plans
from menu.command_parts import DONE, INCOMPLETE, REFUSED, errors_screen, say, show_json
from menu.image_views import ImagesView, added_line, flavor_hint, staged_line
from menu.progress import Progress
from menu.questions import agreed
from menu.screen import GOOD, Screen

if TYPE_CHECKING:
    from orchestrator import OrchestratorAPI
    from remote.plan import Plan

NEEDS_YES = "image remove asks before it removes {}; without a terminal to ask on, it needs --yes"


def manage(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Carry out the action; return the exit status."""
    return _ACTIONS[args.action](api, args, screen)


def add_image(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Make a base image of a file, or only check it; return the exit status."""
    make = api.images.check if args.dry_run else api.images.add
    with errors_screen().waiting(f"Reading and checking {args.path}"):
        added = value_of(make(args.actor, args.path, args.name))
    if args.dry_run:
        screen.line(added_line(added, "Image can be added!"))
        say("Nothing was added: --dry-run")
        return DONE
    screen.line(added_line(added, "Image added!"), GOOD)
    say(flavor_hint(added))
    return DONE


def list_images(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """List the base images; return the exit status."""
    with errors_screen().waiting("Looking at the workers"):
        listing = value_of(api.images.list(args.actor))
    if args.json:
        show_json(screen, {"images": [asdict(image) for image in listing.images], "unseen": dict(listing.unseen)})
    else:
        screen.show(ImagesView(listing.images))
    say(*(f"Warning: {reason}" for reason in listing.unseen.values()))
    return INCOMPLETE if listing.unseen else DONE


def stage_image(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Bring a base image to workers, with progress on standard error; return the exit status."""
    if args.dry_run:
        plan = value_of(api.images.plan_stage(args.actor, args.name, args.workers))
        return _show(plan, screen, f"to stage {args.name}")
    with Progress(errors_screen()) as listen:
        answer = api.images.stage(args.actor, args.name, args.workers, listen)
    screen.line(staged_line(value_of(answer)), GOOD)
    return DONE


def remove_image(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Remove a base image after a question, with progress on standard error; return the exit status."""
    plan = value_of(api.images.plan_removal(args.actor, args.name))
    if args.dry_run:
        return _show(plan, screen, f"to remove {args.name}; then it is removed from the manager")
    question = f"Remove {args.name} from the manager and all workers? (y/n): "
    if not args.yes and not agreed(api, args, question, NEEDS_YES.format(args.name)):
        say("Nothing was removed")
        return REFUSED
    with Progress(errors_screen()) as listen:
        answer = api.images.remove(args.actor, args.name, listen)
    value_of(answer)
    screen.line("Image removed", GOOD)
    return DONE


def _show(plan: Plan, screen: Screen, purpose: str) -> int:
    screen.show_lines(lambda width: plans.plan_lines(plan, plans.Depth.TITLES, width, purpose))
    return DONE


_ACTIONS = {"add": add_image, "list": list_images, "stage": stage_image, "remove": remove_image}

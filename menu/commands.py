"""Commands about slices on the command line: the use-cases of the menu's entries, for the user whom `--as` names."""

from __future__ import annotations

from argparse import Namespace

from menu import plans
from menu.api import API, value_of
from menu.facts import title_for
from menu.screen import Screen
from models import Slice

DONE = 0


def show_plan(api: API, args: Namespace, screen: Screen) -> int:
    """Show what a deployment of a slice does; return the exit status."""
    slice_ = slice_of(api, args)
    plan = value_of(api.plan_slice(args.actor, slice_.slice_id))
    plans.show(screen, plan, plans.Depth(args.depth), title_for(slice_, args.actor))
    return DONE


def slice_of(api: API, args: Namespace) -> Slice:
    """Return the slice that SLICE means to the user; raise `CloudError` where it means none, or several."""
    return value_of(api.find_slice(args.actor, args.slice))

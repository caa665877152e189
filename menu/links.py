"""Carry out entry 16 of the menu: change links of a slice, also while its VMs run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from accounts import rights
from core.errors import CloudError, Refused
from core.impairments import KINDS
from core.results import value_of
from menu.edit_arguments import NO_VALUE, read_received
from menu.picking import ask_for_slice
from menu.screen import GOOD, WARNING, clean
from menu.texts import slice_title
from models import Slice
from topology.compare import summary
from topology.design import STATES, Design
from topology.edits import with_wire, without_link
from topology.of_slice import link_names, present_design

if TYPE_CHECKING:
    from menu.session import Session

WAYS = ("Set the state of a link", "Set rate, delay, jitter, loss or profile of a link", "Remove a link")

_EXAMPLES = {"rate": "10mbit", "delay": "20ms", "jitter": "2ms", "loss": "1%", "profile": "dsl"}


def change_links(session: Session) -> None:
    """Ask for a slice, a link and a change of it, and carry it out."""
    way = session.ask.pick(f"Choose (1-{len(WAYS)}): ", dict(zip(WAYS, WAYS, strict=True)))
    slice_ = ask_for_slice(session, "Slice ID: ")
    rights.require_editable(slice_)
    name = _ask_for_link(session, slice_)
    ask = {WAYS[0]: _with_state, WAYS[1]: _with_quality, WAYS[2]: _removed}[way]
    wanted, command, *options = ask(session, present_design(slice_), name)
    if _carry_out(session, slice_, wanted):
        session.same_as(command, session.word_for(slice_), name, *options)


def _ask_for_link(session: Session, slice_: Slice) -> str:
    names = link_names(slice_)
    if not names:
        raise Refused(f"Slice {slice_.slice_id} has no links yet; 4 (Create Link between VMs) makes one")
    titles = {}
    for name, link in zip(names, present_design(slice_).links, strict=True):
        ends = " - ".join(map(str, link.ends))
        quality = "".join(f", {kind} {_listed(texts)}" for kind, texts in link.impairments.items())
        titles[f"{clean(name)}: {ends}, {link.state}{clean(quality)}"] = name
    return session.ask.pick(f"Choose link (1-{len(names)}): ", titles, names)


def _listed(texts: object) -> str:
    return ", ".join(f"{vm}={text}" for vm, text in texts.items()) if isinstance(texts, dict) else str(texts)


Changed = tuple[Design, str, *tuple[str, ...]]
"""A design, the command that leads to it, and the options of the command."""


def _with_state(session: Session, now: Design, name: str) -> Changed:
    meanings = ("a carrier, and frames pass", "no carrier", "a carrier, and no frames")
    titles = {f"{state}: {meaning}": state for state, meaning in zip(STATES, meanings, strict=True)}
    state = session.ask.pick(f"Choose state (1-{len(STATES)}): ", titles, STATES)
    return with_wire(now, name, state, {}), "set-link", "--state", state


def _with_quality(session: Session, now: Design, name: str) -> Changed:
    kind = session.ask.choice(f"Choose (1-{len(KINDS)}: {', '.join(KINDS)}): ", KINDS, KINDS)

    def change(text: str) -> Design:
        vm, value = read_received(kind, text)
        return with_wire(now, name, "", {kind: {vm: value}})

    prompt = f"{kind.capitalize()} that ends receive (VALUE, VM=VALUE, or {NO_VALUE}): "
    text = session.ask.checked(
        lambda: session.ask.text(prompt, "A value", explained=_explained(kind)), _refused(change)
    )
    return change(text), "set-link", f"--{kind}", text


def _explained(kind: str) -> str:
    """Return what may be typed for a kind of impairment."""
    example = _EXAMPLES[kind]
    return f"The {kind}, such as {example}, is for all ends; r1={example} is for VM r1 only; {NO_VALUE} removes it"


def _refused(change: Callable[[str], Design]) -> Callable[[str], object]:
    """Return a check that refuses texts that cannot be read in the words of the menu."""

    def check(text: str) -> None:
        try:
            change(text)
        except ValueError as fault:
            raise CloudError(str(fault)) from fault

    return check


def _removed(_session: Session, now: Design, name: str) -> Changed:
    return without_link(now, name), "unlink"


def _carry_out(session: Session, slice_: Slice, wanted: Design) -> bool:
    """Say the differences, ask where a link goes, and change the slice; return whether it was changed."""
    edits, slice_id = session.api.edits, slice_.slice_id
    edit = value_of(edits.compare(session.actor, slice_id, wanted, from_file=False))
    session.screen.line(summary(edit.found), WARNING if edit.removes else "")
    for each in edit.found:
        session.screen.line(f"  {each}")
    if not edit.found:
        return False
    if edit.removes and not session.ask.yes(f"Change {slice_title(slice_)}? (y/n): "):
        session.screen.line("Nothing was changed")
        return False
    with session.progress() as listen:
        answer = edits.apply(session.actor, slice_id, wanted, listen, from_file=False, agreed=edit.found)
    value_of(answer)
    session.screen.line("Slice changed", GOOD)
    return True

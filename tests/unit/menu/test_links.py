"""Entry 16 and `set-link`: output, questions and refusals, on fake hosts."""

from __future__ import annotations

import pytest

from core.errors import Refused
from tests.support.desk import Desk, deployed
from tests.unit.menu.test_power import play, run

pytestmark = pytest.mark.on_a_file


def test_the_menu_shows_links_and_changes_them_while_vms_run(desk: Desk) -> None:
    deployed(desk)
    shown = play(desk, "16", "1", "1000", "1", "3", "16", "2", "1000", "2", "1", "vm1=5mbit")
    assert "  1. vm0-vm1: vm0:eth1 - vm1:eth2, up" in shown
    assert "1 link changed live\n  link vm0-vm1: changed live (state up -> silent)" in shown
    assert "link vm1-vm2: changed live (impairments none -> rate vm1 5mbit)" in shown
    assert shown.count("Slice changed") == 2
    assert [str(link.state) for link in desk.slice().links] == ["silent", "up", "up"]
    assert desk.ok(desk.api.problems("student", 1000)) == {}


def test_a_link_is_removed_after_a_question(desk: Desk) -> None:
    deployed(desk)
    shown = play(desk, "16", "3", "1000", "1", "n", "16", "3", "1000", "1", "y")
    assert "Nothing was changed" in shown
    assert len(desk.slice().links) == 2


def test_a_value_that_cannot_be_is_asked_again_with_an_example(desk: Desk) -> None:
    deployed(desk)
    shown = play(desk, "16", "2", "1000", "1", "2", "fast", "vm9=3ms", "20ms")
    assert "Error: write a number with its unit here, such as 10ms or 10us or 10s, or none" in shown
    assert "Error: vm9 is not on vm0-vm1; its ends are at vm0, vm1" in shown
    assert desk.slice().links[0].impairments[0].delay == "20ms"


COMMANDS = {
    "--state silent": "1 link changed live",
    "--rate 1mbit --delay vm0=20ms": "rate vm0 1mbit, vm1 1mbit",
    "--profile satellite": "profile vm0 satellite, vm1 satellite",
    "--state up": "nothing to do",
}


@pytest.mark.parametrize("options", COMMANDS)
def test_set_link_says_what_it_changes(desk: Desk, options: str) -> None:
    deployed(desk)
    status, shown = run(desk, "set-link", "ring", "vm0-vm1", *options.split())
    assert status == 0
    assert COMMANDS[options] in shown


def test_what_is_unusual_about_a_link_is_shown(desk: Desk) -> None:
    deployed(desk)
    run(desk, "set-link", "ring", "1", "--state", "silent", "--rate", "1mbit", "--delay", "vm1=20ms")
    words = "(silent, rate 1mbit, delay 20ms at vm1)"
    assert f"-> vm1 eth2 {words}" in run(desk, "show", "ring")[1]
    assert f"vm0-vm1 {words}" in run(desk, "graph", "ring")[1]
    assert words.strip("()") in run(desk, "graph", "ring", "--format", "mermaid")[1]
    assert "-> vm2 eth2\n" in run(desk, "show", "ring")[1]


def test_a_value_is_removed_by_none(desk: Desk) -> None:
    deployed(desk)
    run(desk, "set-link", "ring", "vm0:eth1", "--loss", "1%")
    run(desk, "set-link", "ring", "1", "--loss", "vm0=none")
    assert [(each.vm_id, each.loss) for each in desk.slice().links[0].impairments] == [(1002, "1%")]


def test_what_cannot_be_is_refused(desk: Desk) -> None:
    deployed(desk)
    with pytest.raises(Refused, match="set-link changes nothing without an option: --state, --rate"):
        run(desk, "set-link", "ring", "1")
    with pytest.raises(Refused, match="There is no profile slow; there are dsl, 4g"):
        run(desk, "set-link", "ring", "1", "--profile", "slow")
    with pytest.raises(Refused, match="has no link core; its links: vm0-vm1"):
        run(desk, "set-link", "ring", "core", "--state", "down")


@pytest.mark.parametrize("word", ["--rate=fast", "--rate=0mbit", "--loss=101%", "--delay=10", "--state=dead"])
def test_wrong_words_end_with_a_usage(desk: Desk, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(desk, "set-link", "ring", "1", word)
    assert end.value.code == 2
    assert "set-link" in capsys.readouterr().err

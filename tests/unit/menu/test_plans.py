"""A plan for readers: three depths, at the width of the terminal, without secrets."""

from __future__ import annotations

import base64
import io
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.inventory import Inventory
from deployment import DeploymentAPI
from menu.plan_commands import named_scripts
from menu.plans import Depth, plan_lines
from menu.screen import PIPE_WIDTH, with_tabs
from remote.plan import Command, Plan, Stage, Step, Upload
from tests.support.designs import DESIGNS, design
from tests.support.playing import screen_of
from tests.unit.menu.test_shell_lines import read_by_a_shell

SCREEN_HEIGHT = 50
WIDTHS = (40, 80, 120)

LOOK = Command(("sh", "-c", "[ -e /dev/kvm ]\n", "can-run.sh", "kvm"), as_user=True)
TAPS = tuple(f"tap_{vm}_eth{nic}" for vm in (1001, 1002) for nic in (0, 1, 2))
MAKE = "for tap; do\n  ip tuntap add mode tap name $tap\ndone\n"
SMALL = Plan(
    (
        Stage("preflight", (Step("10.0.10.1", "accelerator", (LOOK,)), Step("10.0.10.2", "accelerator", (LOOK,)))),
        Stage("nothing here", ()),
        Stage(
            "prepare",
            (
                Step(
                    "10.0.10.1",
                    "base image cirros.img",
                    do=(
                        Upload("/srv/cirros.img", "images/cirros.img", "images/.part", ("test", "-s", "it"), ("cmp",)),
                    ),
                    undo=(Command(("rm", "-f", "images/.part"), as_user=True),),
                    residue="unfinished copy",
                    objects=("cirros.img",),
                ),
                Step(
                    "10.0.10.1",
                    "TAPs",
                    do=(Command(("sh", "-c", MAKE, "make.sh", *TAPS), unless=("sh", "-c", MAKE, "make.sh", *TAPS)),),
                    undo=(Command(("ip", "link", "del", "group", "7")),),
                    objects=TAPS,
                ),
                Step("10.0.10.1", "frames", (Command(("ovs-ofctl", "bundle", "br-int", "-"), "one\ntwo\n"),)),
                Step(
                    "10.0.10.2",
                    "QEMU",
                    do=(Command(("qemu", "-m", "512"), "hush\n", as_user=True, secret=True),),
                    undo=(Command(("kill", "9")),),
                    objects=("vm1",),
                ),
                Step("10.0.10.2", "gateways", (Command(("ip", "addr")),), objects=("192.168.100.1/24",)),
                Step(
                    "10.0.10.2", "internet", (Command(("x",)),), (Command(("y",)),), lock=True, objects=("gw_vlan400",)
                ),
            ),
        ),
    )
)

TITLES = """\
5 changes and 3 checks on 2 hosts to deploy it
    step                   makes                                   undo
preflight (only checks)
  10.0.10.1, 10.0.10.2  accelerator
prepare
  10.0.10.1
    base image cirros.img  cirros.img                              kept
    TAPs                   tap_1001_eth{0..2}, tap_1002_eth{0..2}  removed
    checks: frames
  10.0.10.2
    QEMU                   vm1                                     removed
    gateways               192.168.100.1/24                        implied
    internet               gw_vlan400                              shared
kept: for other slices; implied: by another undo; shared: until its last slice
"""

COMMANDS = """\
5 changes and 3 checks on 2 hosts to deploy it
# runs as root, $ as the SSH user. Where the command after `unless` succeeds,
the one above it is skipped. After a failure, undo leaves what was there before.

preflight
  10.0.10.1  accelerator
    $ sh can-run.sh kvm
  10.0.10.2  accelerator
    $ sh can-run.sh kvm

prepare
  10.0.10.1  base image cirros.img
    copy /srv/cirros.img images/cirros.img
      checked by cmp
      unless test -s it
    undo $ rm -f images/.part
  10.0.10.1  TAPs
    # sh make.sh \\
        tap_1001_eth0 \\
        tap_1001_eth1 \\
        tap_1001_eth2 \\
        tap_1002_eth0 \\
        tap_1002_eth1 \\
        tap_1002_eth2
      unless sh make.sh tap_1001_eth0 tap_1001_eth1 tap_1001_eth2 ...
    undo # ip link del group 7
  10.0.10.1  frames
    # ovs-ofctl bundle br-int -
      reads 2 lines
  10.0.10.2  QEMU
    $ qemu -m 512
      reads a secret
    undo # kill 9
  10.0.10.2  gateways
    # ip addr
  10.0.10.2  internet (one slice at a time)
    # x
    undo # y
"""

SCRIPTS_END = """\

scripts

cat >can-run.sh <<'END'
[ -e /dev/kvm ]
END

cat >make.sh <<'END'
for tap; do
  ip tuntap add mode tap name $tap
done
END
"""


def plan_of(name: str) -> Plan:
    return DeploymentAPI(Inventory()).deploy_plan(design(name), new=True)


def text_of(plan: Plan, depth: Depth, width: int = PIPE_WIDTH) -> str:
    return "".join(f"{with_tabs(line.text)}\n" for line in plan_lines(plan, depth, width, "to deploy it"))


def kept_word_for_word(lines: list[str]) -> Iterator[bool]:
    """Yield for each line whether it belongs to a file that a command is given."""
    inside = False
    for line in lines:
        inside = inside and line != "END"
        yield inside
        inside = inside or line.endswith("<<'END'")


def test_titles() -> None:
    assert text_of(SMALL, Depth.TITLES) == TITLES


REMOVAL = """\
3 changes on 2 hosts to delete it
    step      removes
remove
  10.0.10.2
    internet  gw_vlan400                              shared
    QEMU      vm1                                     removed
  10.0.10.1
    TAPs      tap_1001_eth{0..2}, tap_1002_eth{0..2}  removed
    if left: unfinished copy
shared: until its last slice
"""


def test_titles_of_a_removal_name_no_undo() -> None:
    lines = plan_lines(SMALL.undone("remove"), Depth.TITLES, PIPE_WIDTH, "to delete it")
    assert "".join(f"{line.text}\n" for line in lines) == REMOVAL


def test_commands() -> None:
    assert text_of(SMALL, Depth.COMMANDS) == COMMANDS


def test_scripts_show_what_commands_read_and_each_script_once() -> None:
    guard = "      unless sh make.sh tap_1001_eth0 tap_1001_eth1 tap_1001_eth2 ...\n"
    taps = " \\\n".join(f"        {tap}" for tap in TAPS)
    whole = COMMANDS.replace(guard, f"      unless sh make.sh \\\n{taps}\n")
    whole = whole.replace("br-int -\n      reads 2 lines\n", "br-int - <<'END'\none\ntwo\nEND\n")
    assert text_of(SMALL, Depth.SCRIPTS) == whole + SCRIPTS_END


def on_screen(plan: Plan, depth: Depth, *, terminal: bool) -> str:
    output = io.BytesIO()
    screen = screen_of(output, terminal=terminal)
    screen.show_lines(lambda width: plan_lines(plan, depth, width, "to deploy it"))
    return output.getvalue().decode()


def test_on_a_pipe_it_is_the_same_text() -> None:
    assert on_screen(SMALL, Depth.COMMANDS, terminal=False) == COMMANDS


def test_a_terminal_has_the_same_text_in_colour() -> None:
    shown = on_screen(SMALL, Depth.COMMANDS, terminal=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == COMMANDS != shown


def test_a_terminal_cuts_no_line() -> None:
    text = "x" * 200
    plan = Plan((Stage("look", (Step("h", "it", (Command(("cat",), f"{text}\n"),)),)),))
    assert f"\n{text}\n" in on_screen(plan, Depth.SCRIPTS, terminal=True)


@pytest.mark.parametrize("width", WIDTHS)
def test_many_hosts_that_are_checked_alike_are_named_once(width: int) -> None:
    hosts = [f"10.0.10.{number}" for number in range(1, 21)]
    plan = Plan((Stage("preflight", tuple(Step(host, "accelerator", (LOOK,)) for host in hosts)),))
    lines = text_of(plan, Depth.TITLES, width).splitlines()
    assert max(map(len, lines)) <= width
    below = lines[lines.index("preflight (only checks)") + 1 :]
    assert " ".join(" ".join(below).split()) == f"{', '.join(hosts)} accelerator"


def test_the_words_of_each_vm_begin_a_line() -> None:
    words = [f"images/slice-1000/{vm}.{kind}" for vm in ("vm1", "vm2") for kind in ("pid", "console", "log", "qemu")]
    steps = (
        Step("h", "folder", (Command(("mkdir", "images/slice-1000")),), objects=("slice-1000",)),
        Step("h", "QEMU", (Command(("rm", *words)),), objects=("vm1", "vm2")),
    )
    assert text_of(Plan((Stage("launch", steps),)), Depth.COMMANDS).splitlines()[-5:] == [
        "    # rm \\",
        "        images/slice-1000/vm1.pid images/slice-1000/vm1.console \\",
        "        images/slice-1000/vm1.log images/slice-1000/vm1.qemu \\",
        "        images/slice-1000/vm2.pid images/slice-1000/vm2.console \\",
        "        images/slice-1000/vm2.log images/slice-1000/vm2.qemu",
    ]


def test_where_columns_have_no_room_they_stand_below_each_other() -> None:
    assert text_of(SMALL, Depth.TITLES, 40).splitlines()[5:11] == [
        "  10.0.10.1",
        "    base image cirros.img: kept",
        "      cirros.img",
        "    TAPs: removed",
        "      tap_1001_eth{0..2} and 3 more",
        "    checks: frames",
    ]


def test_a_name_that_is_too_long_is_shown_in_full() -> None:
    name = "a-very-long-name" * 4
    step = replace(next(step for step in SMALL.steps if step.title == "QEMU"), objects=(name,))
    shown = text_of(Plan((Stage("launch", (step,)),)), Depth.TITLES, 70).splitlines()
    assert max(map(len, shown)) <= 70
    assert "".join(line[10:61].strip() for line in shown[4:]) == name


@pytest.mark.parametrize("plan", [Plan(()), Plan((Stage("preflight", ()),))])
@pytest.mark.parametrize("depth", Depth)
def test_of_an_empty_plan_there_is_nothing_to_do(plan: Plan, depth: Depth) -> None:
    assert text_of(plan, depth) == "nothing to do\n"


def test_one_is_no_plural() -> None:
    assert text_of(Plan((Stage("look", (Step("h", "it", (LOOK,)),)),)), Depth.TITLES).splitlines() == [
        "0 changes and 1 check on 1 host to deploy it",
        "look (only checks)",
        "  h  it",
    ]


def test_the_titles_of_a_ring_of_four_fit_one_screen_with_a_question_below() -> None:
    lines = text_of(plan_of("ring"), Depth.TITLES).splitlines()
    assert len(lines) < SCREEN_HEIGHT
    assert max(map(len, lines)) <= PIPE_WIDTH


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("depth", Depth)
def test_no_line_is_wider_than_the_screen(name: str, width: int, depth: Depth) -> None:
    lines = text_of(plan_of(name), depth, width).splitlines()
    kept = kept_word_for_word(lines)
    assert [line for line, is_kept in zip(lines, kept, strict=True) if not is_kept and len(line) > width] == []


@pytest.mark.parametrize("name", DESIGNS)
def test_titles_name_every_step(name: str) -> None:
    plan = plan_of(name)
    text = " ".join(text_of(plan, Depth.TITLES).split())
    assert [step.title for step in plan.steps if step.title not in text] == []


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_shell_reads_the_commands_as_they_are(name: str, width: int) -> None:
    plan = plan_of(name)
    names = named_scripts(plan)
    steps = [step for stage in plan.stages for steps in stage.by_host.values() for step in steps]
    actions = [
        action for step in steps for action in (*step.do, *step.undo, *step.restore) if isinstance(action, Command)
    ]
    assert read_by_a_shell([*shown_commands(plan, width)]) == [[*with_names(each.argv, names)] for each in actions]


def with_names(argv: tuple[str, ...], names: dict[str, str]) -> Iterator[str]:
    """Yield the argv with the name of each script where `-c`, its text and its name stand."""
    words = iter(argv)
    for word in words:
        if word == "-c":
            yield names[next(words)]
            next(words, None)
        else:
            yield word


def shown_commands(plan: Plan, width: int) -> Iterator[list[str]]:
    """Yield the lines of each command, without what stands before it."""
    lines = iter(text_of(plan, Depth.COMMANDS, width).splitlines()[1:])
    for line in lines:
        sign = next((sign for sign in ("    # ", "    $ ", "    undo # ", "    undo $ ") if line.startswith(sign)), "")
        if sign:
            command = [line.removeprefix(sign)]
            while is_open(command):
                command.append(next(lines))
            yield command


def is_open(command: list[str]) -> bool:
    if command[-1].endswith("\\"):
        return True  # a shell need not read all lines for each that follows
    try:
        shlex.split("\n".join(command))
    except ValueError:
        return True
    return False


def test_a_shell_makes_the_scripts_of_their_part(tmp_path: Path) -> None:
    plan = plan_of("ring")
    made = text_of(plan, Depth.SCRIPTS).partition("\nscripts\n")[2]
    subprocess.run(["sh"], input=made, cwd=tmp_path, text=True, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {*named_scripts(plan).values()}
    for text, name in named_scripts(plan).items():
        assert (tmp_path / name).read_text().splitlines() == text.splitlines(), name


@pytest.mark.parametrize("depth", Depth)
def test_no_depth_shows_a_secret(depth: Depth) -> None:
    slice_ = design("ring")
    secrets = [str(vm.vnc_secret) for vm in slice_.vms]
    secrets += [base64.b64encode(secret.encode()).decode() for secret in secrets]
    text = text_of(DeploymentAPI(Inventory()).deploy_plan(slice_), depth)
    assert all(secrets)
    assert [secret for secret in secrets if secret in text] == []


def test_every_script_has_a_name_of_its_own() -> None:
    names = named_scripts(plan_of("ring"))
    assert len({*names.values()}) == len(names)

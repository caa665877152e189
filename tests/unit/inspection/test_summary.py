"""The few sentences about a slice's problems: short, errors first, and with advice that the reader can follow."""

from __future__ import annotations

import pytest

from inspection.codes import CODES, OWNER_CODES, REPAIR
from inspection.findings import Finding
from inspection.summary import ASK_OPERATOR, IN_MENU, REPAIR_IT, SHOWN, SliceProblems, summary

WORKER = "10.0.10.1"
DEAD = Finding("qemu-dead", WORKER, "VM web does not run", 1000, 1001)
WRONG = Finding("qemu-wrong", WORKER, "VM web runs with another command line", 1000, 1001)
DOWN = Finding("data-port-down", WORKER, "the data port ens4 is down", 1000, device="ens4")
UNREACHABLE = Finding("host-unreachable", WORKER, "is not reachable: no answer")


def advice(*found: Finding, for_admin: bool = False) -> tuple[str, ...]:
    return summary(found, for_admin=for_admin).advice


@pytest.mark.parametrize("for_admin", [False, True])
def test_a_repairable_problem_leads_to_entry_11(for_admin: bool) -> None:
    expected = SliceProblems(("10.0.10.1: VM web does not run",), (REPAIR_IT,), ("repair the slice: repair 1000",))
    assert summary([DEAD], for_admin=for_admin) == expected


@pytest.mark.parametrize("for_admin", [False, True])
def test_commands_name_no_entry_of_the_menu(for_admin: bool) -> None:
    for code in CODES:
        found = summary([Finding(code, WORKER, "x", 1000, 1001, "ens4")], for_admin=for_admin)
        (shown,) = found.for_commands().advice
        assert not any(word in shown for word in ("entry", "11", "15", "Repair Slice", "SLICE")), code
        assert found.advice == (shown,) or found.advice[0] in {REPAIR_IT, *IN_MENU.values()}, code


def test_a_vm_that_is_off_is_started_in_the_words_of_its_reader() -> None:
    found = summary([Finding("vm-off", WORKER, "VM web powered itself off", 1000, 1001)], for_admin=False)
    assert (found.advice, found.commands) == (("15 starts it",), ("start the VM: start 1000 1001",))


def test_only_admins_read_commands_for_hosts() -> None:
    assert advice(DOWN) == advice(UNREACHABLE) == (ASK_OPERATOR,)
    assert advice(DOWN, for_admin=True)[0].startswith("ip link set ens4 up; ")
    assert "cli.py host forget 10.0.10.1" in advice(UNREACHABLE, for_admin=True)[0]


def test_a_student_reads_no_command_of_the_operator() -> None:
    for code in CODES:
        (shown,) = advice(Finding(code, WORKER, "x"))
        assert shown in {REPAIR_IT, ASK_OPERATOR} or code in OWNER_CODES, code
        words = ("ovs-", "sysctl", "ip link", "cli.py", "doctor", "README", "docs/")
        assert not any(word in shown for word in words), code


def test_a_student_reads_advice_that_the_menu_can_follow() -> None:
    assert advice(WRONG) == ("delete the slice and create it again, or let it run as it is",)
    assert not any(CODES[code][2].startswith(REPAIR) for code in OWNER_CODES)


def test_errors_come_first_and_equal_advice_once() -> None:
    found = summary([WRONG, DOWN, UNREACHABLE, DEAD], for_admin=False)
    assert [sentence.partition(": ")[2] for sentence in found.sentences[-1:]] == [WRONG.what]
    assert found.advice == (ASK_OPERATOR, REPAIR_IT, WRONG.advice)


def test_a_summary_is_short() -> None:
    many = [Finding("tap-missing", WORKER, f"tap_100{number}_eth0 is not there", 1000) for number in range(SHOWN + 3)]
    found = summary(many, for_admin=False)
    assert len(found.sentences) == SHOWN + 1
    assert found.sentences[-1] == "and 3 more problems"
    assert found.advice == (REPAIR_IT,)

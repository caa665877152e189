"""Requests for packets: the rule for filters as a property, and the bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.captures import LONGEST_FILTER, MOST_PACKETS, MOST_SECONDS, CaptureRequest, is_filter
from core.errors import Refused

PRINTABLE = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=80)


@settings(deadline=None)
@given(st.text(max_size=LONGEST_FILTER + 20))
def test_a_filter_has_printable_characters_only(text: str) -> None:
    if is_filter(text):
        assert text.isprintable()
        assert len(text) <= LONGEST_FILTER
        assert not any(word.startswith("-") for word in text.split())


@settings(deadline=None)
@given(PRINTABLE, PRINTABLE)
def test_a_word_that_may_be_an_option_is_refused_wherever_it_stands(before: str, after: str) -> None:
    for text in (f"{before} -w{after}", f"-{after}", f"{before} - {after}", f"{before} --"):
        assert not is_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "icmp",
        "tcp port 80 and host 10.0.0.1",
        "ip[6:2]&0x1fff!=0",
        "tcp[2]-tcp[0]>4",
        "ether host 52:54:00:03:e9:01",
        "$(id) ` ' \" ; | \\",
        "a" * LONGEST_FILTER,
    ],
)
def test_other_printable_text_is_left_to_tcpdump(text: str) -> None:
    CaptureRequest("eth1", text).check()


@pytest.mark.parametrize("text", ["a\nb", "a\0", "\x1b[2J", "a\tb", "\udce9", "a" * (LONGEST_FILTER + 1), "icmp -w x"])
def test_a_filter_that_is_refused_names_the_rule(text: str) -> None:
    with pytest.raises(Refused, match="A filter has at most 256 printable characters, and none of its words begins wi"):
        CaptureRequest("eth1", text).check()


@pytest.mark.parametrize(
    ("count", "seconds"), [(0, 1), (-1, 1), (MOST_PACKETS + 1, 1), (1, 0), (1, MOST_SECONDS + 1), (10**9, 10**9)]
)
def test_a_request_beyond_a_bound_is_refused(count: int, seconds: int) -> None:
    with pytest.raises(Refused, match="A capture has 1 to 10000 packets, and ends within 10 min"):
        CaptureRequest("eth1", "", count, seconds).check()

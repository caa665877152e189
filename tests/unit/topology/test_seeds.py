"""Seeds between a design and a VM."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.first_boot import FirstBoot
from tests.unit.core.test_first_boot import VALUES
from topology.design import Seed
from topology.seeds import first_boot, seed_of


@settings(deadline=None)
@given(st.text(), st.dictionaries(st.text(), VALUES, max_size=3))
def test_a_vm_keeps_what_the_design_says(script: str, user_data: dict[str, Any]) -> None:
    seed = Seed(script, user_data)
    try:
        kept = first_boot(seed)
    except (ValueError, UnicodeEncodeError):
        return
    assert seed_of(kept) == seed


def test_a_vm_without_a_seed_keeps_nothing() -> None:
    assert first_boot(Seed()) is None
    assert seed_of(None) == Seed()
    assert first_boot(Seed("date")) == FirstBoot("date")


@pytest.mark.parametrize("key", ["users", "write_files"])
def test_keys_that_we_add_to_have_to_be_lists(key: str) -> None:
    with pytest.raises(ValueError, match=f"`{key}` has to be a list"):
        first_boot(Seed("", {key: {"name": "eva"}}))

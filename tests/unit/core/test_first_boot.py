"""Cloud-config of a slice file: JSON that YAML reads with the same meaning."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.first_boot import MAX_BYTES, MAX_DEPTH, FirstBoot, cloud_config, read_cloud_config
from core.rule import Broken

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.text(), VALUES, max_size=3))
def test_what_is_written_is_read_the_same_or_refused(config: dict[str, Any]) -> None:
    try:
        written = cloud_config(config)
    except ValueError:
        return
    assert read_cloud_config(written) == config
    FirstBoot.rule()({"user_data": written} if len(written) <= MAX_BYTES else {})


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth > 1 else {}


@pytest.mark.parametrize(
    "config",
    [
        nested(MAX_DEPTH + 1),
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": 1e300},
        {"a": "\ud83d"},
        {"\udc00": 1},
        {"k" * 129: 1},
        {1: 1},
        {"a": {1, 2}},
    ],
)
def test_what_a_guest_would_read_otherwise_is_refused(config: dict[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        cloud_config(config)


@pytest.mark.parametrize("text", ["[]", "1", "{", "[" * 9000, '{"a": "\\ud800"}', '{"a": NaN}', "x"])
def test_a_text_that_is_no_mapping_is_refused_by_the_file(text: str) -> None:
    with pytest.raises(Broken):
        FirstBoot.rule()({"user_data": text})


@pytest.mark.parametrize("script", ["a\0b", "x" * (MAX_BYTES + 1), "\ud800", 3])
def test_a_script_that_no_file_could_hold_is_refused(script: object) -> None:
    with pytest.raises(Broken):
        FirstBoot.rule()({"script": script})


def test_the_size_is_that_of_both_in_bytes() -> None:
    assert FirstBoot("é", cloud_config({"a": 1})).size == 2 + 8


def test_yaml_would_mistake_what_is_refused() -> None:
    """The reason for the bounds, seen."""
    assert yaml.safe_load('{"a": 1e+300}') == {"a": "1e+300"}
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load('{"%s": 1}' % ("k" * 1025))

"""The additions of a slice file to the first boot of a VM: a script, and cloud-config.

Cloud-config is kept as JSON that YAML reads with the same meaning, because cloud-init reads it as YAML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.records import Recorded, key, value
from core.rule import text

MAX_BYTES, MAX_BYTES_OF_SLICE, MAX_BYTES_OF_USER = 16 << 10, 128 << 10, 256 << 10
"""Maximum size of script and cloud-config together, of a VM, of a slice, and of all slices of a user."""

MAX_DEPTH = 20
MAX_KEY = 128
"""A key and its escapes stay below the 1,024 characters that YAML allows for a key in quotes."""


def cloud_config(given: Mapping[str, Any]) -> str:
    """Return cloud-config as JSON; raise `ValueError`, with a sentence, where guests would read something else."""
    _check(given, 1)
    return json.dumps(given, ensure_ascii=False, allow_nan=False)


def read_cloud_config(written: str) -> dict[str, Any]:
    """Return the cloud-config of a text of `cloud_config`; raise `ValueError` for another text."""
    try:
        found = json.loads(written) if written else {}
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("cloud-config is a mapping")  # noqa: TRY004 - one kind of error for all faults of a text
    _check(found, 1)
    return found


def _check(given: object, depth: int) -> None:
    """Raise `ValueError` where JSON has no word for a value, or YAML would read another value from it."""
    if depth > MAX_DEPTH:
        raise ValueError(f"values are nested more than {MAX_DEPTH} deep")
    if isinstance(given, Mapping):
        for name, each in given.items():
            if not isinstance(name, str) or len(name) > MAX_KEY:
                raise ValueError(f"a key is a text of at most {MAX_KEY} characters")
            _check(name, depth)
            _check(each, depth + 1)
    elif isinstance(given, list):
        for each in given:
            _check(each, depth + 1)
    elif isinstance(given, str):
        _check_text(given)
    elif isinstance(given, float) and "." not in repr(given):
        raise ValueError(f"the number {given!r} is not allowed; write it in quotes")
    elif given is not None and not isinstance(given, bool | int | float):
        raise ValueError(f"a {type(given).__name__} is not allowed; write it in quotes")


def _check_text(given: str) -> None:
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the text {given[:40]!a} has a half of a character") from None


def _is_script(given: str) -> bool:
    return len(given) <= MAX_BYTES and "\0" not in given and _has_whole_characters(given)


def _has_whole_characters(given: str) -> bool:
    try:
        _check_text(given)
    except ValueError:
        return False
    return True


def _is_cloud_config(given: str) -> bool:
    try:
        return len(given) <= 2 * MAX_BYTES and isinstance(read_cloud_config(given), dict)
    except ValueError:
        return False


@value
class FirstBoot(Recorded):
    """A script that root runs once, and cloud-config as JSON that is merged into ours."""

    script: str = key(text(_is_script, f"a script of at most {MAX_BYTES} characters"), default="", brief=True)
    user_data: str = key(text(_is_cloud_config, "a mapping of cloud-config, as JSON"), default="", brief=True)

    @property
    def size(self) -> int:
        """Return the bytes of both."""
        return len(self.script.encode()) + len(self.user_data.encode())

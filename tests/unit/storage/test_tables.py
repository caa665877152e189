"""The steps of the tables: where the state gets a key, managers of an older program have to be told by a step."""

from __future__ import annotations

import hashlib

from docs.reference.database import keys
from storage.postgres import tables

KNOWN = (4, "4124c8e7b8e99b38")
"""The newest version of the tables, and the digest of all keys that programs of this version know."""


def test_a_new_key_comes_with_a_step() -> None:
    """An older manager refuses a row with a key that it does not know, but not by `update this manager`.

    A step without a statement is enough where no table changes. One that was not released yet serves further keys.
    """
    digest = hashlib.sha256("\n".join(sorted(keys())).encode()).hexdigest()[:16]
    assert (tables.NEWEST, digest) == KNOWN, "add a step to storage/postgres/tables, and write this pair into KNOWN"

"""A session that never rests: it takes one id after the other, and prints each with its time as `ID SECONDS`.

`python counter.py DATABASE` runs in a manager's network until it is ended. An id that was perhaps not saved is printed
as `? SECONDS`. The time is that of CLOCK_MONOTONIC, which all processes of the machine share.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from core.errors import FileFault
from database import open_store
from storage.location import location_of


def main() -> None:
    """Take ids for ever."""
    store = open_store(location_of(sys.argv[1]))
    while True:
        try:
            taken = str(store.get_next_vm_id())
        except FileFault:
            taken = "?"
        sys.stdout.write(f"{taken} {time.monotonic()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

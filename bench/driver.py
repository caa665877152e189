"""`python -m bench.driver FILE`: drives the hosts, from the manager's namespace, as the contender that FILE names.

It reads phases from standard input, one per line, and answers each with one line of JSON: the duration and further
facts, or the reason of a failure.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.copying import Copying
from bench.creating import Creating
from bench.jobs import Turn
from bench.one_ssh import OneSSHPerCommand
from bench.ours import Ours
from bench.samples import Facts
from bench.with_ansible import WithAnsible
from bench.with_libvirt import WithLibvirt
from bench.work import Work
from database import Database


def contender(record: dict[str, Any]) -> Any:
    """Return the contender of that name, ready to begin; its phases are its methods."""
    database, image, name = Path(record["database"]), Path(record["image"]), record["contender"]
    work = Work(**record["work"])
    if name == "ours":
        return Ours(work, database, image, tuple(record["slice_ids"]))
    if name == "create":
        return Creating(work, database, image, record["text"])
    if name == "ssh":
        return OneSSHPerCommand(work, database, image)
    if name == "copy":
        return Copying(work, database, image, record["number"])
    inventory = Database(database).load().inventory
    if name == "libvirt":
        return WithLibvirt(work, inventory, image, Path(record["folder"]))
    life = {phase: [Turn.from_dict(turn) for turn in turns] for phase, turns in record["life"].items()}
    return WithAnsible(inventory, life, Path(record["programs"]), Path(record["folder"]))


def main() -> None:
    """Answer requests until the input ends."""
    logging.basicConfig(handlers=[logging.NullHandler()])  # as in cli.py: paramiko's errors say all that is needed
    driven = contender(json.loads(Path(sys.argv[1]).read_text()))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_timed(driven, line.strip())) + "\n")
        sys.stdout.flush()
    if hasattr(driven, "close"):
        driven.close()


def _timed(driven: Any, phase: str) -> Facts:
    began = time.monotonic()
    try:
        facts = {} if phase == "ready" else getattr(driven, phase)()
    except Exception as error:  # noqa: BLE001 - the parent has to know, and to take its lab down
        return {"error": f"{type(error).__name__}: {error}"}
    return {"seconds": time.monotonic() - began, **facts}


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # do not wait for connections that a host may never close

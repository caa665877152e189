"""`python -m bench.driver CONTENDER VMS DATABASE IMAGE`: drives the hosts, from the manager's namespace.

Reads phases from standard input, one per line, and answers each with one line of JSON: how long it took and what else
there is to say about it, or why it failed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from bench import contenders
from bench.ring import Ring

PHASES = ("design", "deploy", "delete")


def main() -> None:
    """Answer until the input ends."""
    name, vms, database, image = sys.argv[1:]
    contender = contenders.of(name, Ring(int(vms)), Path(database), Path(image))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_timed(contender, line.strip())) + "\n")
        sys.stdout.flush()


def _timed(contender: contenders.Contender, phase: str) -> contenders.Facts:
    run = {"design": contender.design, "deploy": contender.deploy, "delete": contender.delete}[phase]
    began = time.monotonic()
    try:
        facts = run()
    except Exception as error:  # noqa: BLE001 - the parent has to know, and to take its lab down
        return {"error": f"{type(error).__name__}: {error}"}
    return {"seconds": time.monotonic() - began, **facts}


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # without waiting for connections that a host may never close

"""The shell of a host that lies: it reads a batch on standard input and prints a given answer.

Usage: liar.py ANSWER. In ANSWER, `{mark}` is a line end and the nonce of the batch. `{drip}` at its end is one byte
again and again, and `{flood}` is output without an end.
"""

from __future__ import annotations

import os
import re
import sys
import time

DRIP_SECONDS = 0.1


def main() -> None:
    """Answer on both streams, because marks come on both."""
    script = b""
    while not (found := re.search(rb"nonce=([0-9a-f]{24})", script)) or b"bs=1 count=1" not in script:
        script += os.read(0, 1 << 16)
    answer = sys.argv[1].replace("{mark}", f"\n{found[1].decode()}").replace("\\n", "\n")
    words = answer.removesuffix("{drip}").removesuffix("{flood}").encode()
    for stream in (1, 2):
        os.write(stream, words)
    while answer.endswith("{drip}"):
        os.write(1, b"x")
        time.sleep(DRIP_SECONDS)
    while answer.endswith("{flood}"):
        os.write(1, b"x" * (1 << 16))
    time.sleep(60)


if __name__ == "__main__":
    main()

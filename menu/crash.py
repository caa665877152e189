"""Write an unexpected error to a report for developers, and sum it up for the user in one sentence."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path


def crash_sentence(error: BaseException, report: Path) -> str:
    """Append the traceback of `error` to `report`, readable by its owner only, and return a sentence for the user."""
    what = f"Something unexpected happened ({type(error).__name__})"
    text = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n{''.join(traceback.format_exception(error))}\n"
    try:
        descriptor = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as refusal:
        return f"{what}, and no report could be written to {report}: {refusal.strerror}"
    return f"{what}; please pass on the report in {report}"

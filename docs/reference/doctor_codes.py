"""Write the page of the doctor's codes, from `inspection/codes.py`."""

from __future__ import annotations

from docs.reference.markdown import code, page, table
from inspection.codes import CODES

_INTRODUCTION = """
`python3 cli.py doctor` names each finding by one of these codes ([operations.md](../operations.md#doctor)). Entry 5
of the menu shows those of the user's own slices. An *error* keeps something from working. A *warning* does not yet.
"""


def doctor_codes_page() -> str:
    """Return the page."""
    rows = ((code(name), severity, meaning, advice) for name, (severity, meaning, advice) in CODES.items())
    return page("Codes of the doctor", _INTRODUCTION, table(("code", "severity", "meaning", "what to do"), rows))

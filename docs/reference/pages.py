"""All reference pages by their file names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.reference.commands import commands_page
from docs.reference.database import database_page
from docs.reference.doctor_codes import doctor_codes_page
from docs.reference.exit_statuses import exit_statuses_page
from docs.reference.plan import plan_page

FOLDER = Path(__file__).parent
PAGES: Mapping[str, Callable[[], str]] = {
    "database.md": database_page,
    "commands.md": commands_page,
    "doctor-codes.md": doctor_codes_page,
    "exit-statuses.md": exit_statuses_page,
    "plan.md": plan_page,
}

"""Write all reference pages."""

from __future__ import annotations

from docs.reference.pages import FOLDER, PAGES

for name, page in PAGES.items():
    (FOLDER / name).write_text(page(), encoding="utf-8")

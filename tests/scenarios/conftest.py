"""Fixtures of the scenarios: the desk of the unit tests, and the lab."""

from __future__ import annotations

from tests.lab.conftest import home, lab, new_measurements
from tests.unit.conftest import desk, pytest_generate_tests

__all__ = ["desk", "home", "lab", "new_measurements", "pytest_generate_tests"]

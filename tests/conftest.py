"""What holds for every test. Shared fakes and fixtures are in ``tests/support``."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests reach no test."""
    for name in [name for name in os.environ if name.startswith("UPBEAT_")]:
        monkeypatch.delenv(name)

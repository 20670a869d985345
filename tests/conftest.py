"""What holds for every test. Shared fakes and fixtures are in ``tests/support``."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import settings

# For CI: generated examples are the same every time, so that a change is judged by what it changes.
settings.register_profile("same", derandomize=True)

# A plugin that asks for the current loop in a synchronous test gets none, instead of a new one that
# nobody closes (an unclosed loop is a warning, and a warning is an error in whatever test runs then).
asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests reach no test."""
    for name in [name for name in os.environ if name.startswith("UPBEAT_")]:
        monkeypatch.delenv(name)

"""The stage of the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.play import Play


@pytest.fixture
def play() -> Iterator[Play]:
    """A play with the default limits, at whose end nothing is left to read."""
    play = Play()
    yield play
    play.over()

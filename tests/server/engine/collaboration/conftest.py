"""A stage with one more mode than the server brings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fan_mode import FanMode
from tests.support.play import Play


@pytest.fixture
def play() -> Iterator[Play]:
    """A stage; what was not read when the play is over is an error."""
    stage = Play(modes={"fan": FanMode()})
    yield stage
    stage.over()

"""Items of a pipeline that were given up, as far as they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.failures import shortened, size_of
from upbeat_server.engine.model import ItemError

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Child

ERRORS_MAX = 1_000
ERROR_BYTES_MAX = 1 << 20
"""What errors have together before further ones are shortened."""


class Losses:
    """The errors of the first items that were given up."""

    def __init__(self) -> None:
        self._errors: list[ItemError] = []
        self._bytes = 0

    def add(self, index: int, stage: int, child: Child) -> None:
        """An item was given up in a stage, because of this child."""
        if len(self._errors) >= ERRORS_MAX:
            return
        self._bytes += size_of(child.error)
        error = child.error if self._bytes <= ERROR_BYTES_MAX else shortened(child.error)
        self._errors.append(ItemError(index, stage, child.task_id, error))

    def told(self) -> tuple[ItemError, ...]:
        """By index."""
        return tuple(sorted(self._errors, key=lambda error: error.index))

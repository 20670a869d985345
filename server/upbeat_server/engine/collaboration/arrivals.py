"""What left the last stage of a pipeline, in the order in which it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.bundle import as_json

if TYPE_CHECKING:
    from upbeat_server.engine.model import Payload


class Arrivals:
    """Outputs by item. When order is preserved, one waits for all items before it to leave or be given up."""

    def __init__(self, *, is_ordered: bool, keeps: bool = True) -> None:
        self.texts: list[bytes] = []  # Of those that were told, as JSON; none if they are not kept.
        self._keeps = keeps
        self._is_ordered = is_ordered
        self._waiting: dict[int, Payload | None] = {}  # By index; None: given up.
        self._next = 0

    def add(self, index: int, output: Payload | None) -> list[tuple[int, Payload]]:
        """An item left, or (None) was given up; answers what can be told now, with the indexes."""
        if not self._is_ordered:
            told = [] if output is None else [(index, output)]
        else:
            self._waiting[index] = output
            told = self._in_order()
        if self._keeps:
            self.texts += [as_json(payload) for _, payload in told]
        return told

    def _in_order(self) -> list[tuple[int, Payload]]:
        told = []
        while self._next in self._waiting:
            output = self._waiting.pop(self._next)
            if output is not None:
                told.append((self._next, output))
            self._next += 1
        return told

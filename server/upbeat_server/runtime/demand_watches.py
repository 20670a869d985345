"""Watches of demand: woken by every turn that was committed, to look again.

A watch holds nothing: what is looked at are counts of the engine, and a watch that was woken ten times before
it looks has missed nothing that still holds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from upbeat_server.engine.model import Refusal


class DemandWatch:
    """One watch."""

    def __init__(self, watches: DemandWatches) -> None:
        self._watches = watches
        self._signal = asyncio.Event()
        self._over = asyncio.Event()
        self._refusal: Refusal | None = None

    async def turned(self) -> None:
        """Wait for a turn since this was called last. Raises Refused when the watch was ended."""
        await self._signal.wait()
        self._signal.clear()
        if self._refusal is not None:
            raise Refused(self._refusal)

    async def over(self) -> None:
        """Wait until the watch is ended, then raise Refused."""
        await self._over.wait()
        if self._refusal is not None:
            raise Refused(self._refusal)

    def stir(self) -> None:
        """A turn was committed."""
        self._signal.set()

    def fail(self, refusal: Refusal) -> None:
        """End the watch."""
        self._refusal = refusal
        self._signal.set()
        self._over.set()

    def close(self) -> None:
        """The reader is gone. Idempotent."""
        self._watches.open_ones.pop(self, None)


class DemandWatches:
    """All watches of a namespace's demand."""

    def __init__(self) -> None:
        self.open_ones: dict[DemandWatch, None] = {}

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self.open_ones)

    def open(self) -> DemandWatch:
        """A new watch."""
        watch = DemandWatch(self)
        self.open_ones[watch] = None
        return watch

    def end(self, refusal: Refusal) -> None:
        """End all watches."""
        for watch in self.open_ones:
            watch.fail(refusal)
        self.open_ones.clear()

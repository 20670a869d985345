"""Wakes the one coroutine that waits for something to be there.

Unlike asyncio.Event it remembers nothing: who waits has looked before, without an await in between, and
looks again. It is rung for every item, so ringing costs next to nothing while nobody waits.
"""

from __future__ import annotations

import asyncio


class Bell:
    """A bell with one listener."""

    __slots__ = ("_loop", "_waiter")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake whoever waits."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():  # Who waited may have been cancelled.
                waiter.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        """The next ring, to be awaited at once. Only one may wait."""
        if self._loop is None:  # Looked up once: it asks the kernel for the process id.
            self._loop = asyncio.get_running_loop()
        self._waiter = self._loop.create_future()
        return self._waiter

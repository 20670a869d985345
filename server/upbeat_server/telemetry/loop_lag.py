"""How late the event loop is: what everything that runs on it waits at least."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from upbeat_server.clock import stopwatch_s
from upbeat_server.telemetry.windows import Buckets

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_S: Final = 0.1


class LoopLag:
    """Wakes ten times a second and notes by how much it was woken too late."""

    def __init__(self, stopwatch: Callable[[], float] = stopwatch_s) -> None:
        self.seconds = Buckets()
        self._stopwatch = stopwatch
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch the running loop from now on."""
        self._due_s = self._stopwatch() + PERIOD_S
        self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._wake)

    def stop(self) -> None:
        """Watch no longer. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self.seconds.add(max(0.0, self._stopwatch() - self._due_s))
        self.start()

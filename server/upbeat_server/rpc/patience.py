"""How long the writes of one stream may take, without a timer for each of them.

A timer for every write costs more than the write. One timer is armed by the first and looks, when it
fires, at the write that is under way then: it ends one that has taken too long, waits for the rest of its
time, or is gone until there is a write again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Timer(Protocol):
    """A timer that is armed."""

    def cancel(self) -> None:
        """It never fires."""


class Timers(Protocol):
    """What it needs of an event loop."""

    def time(self) -> float:
        """Seconds."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Arm a timer."""


class Patience:
    """Cancels the task whose write takes too long. One write at a time."""

    def __init__(self, loop: Timers, seconds: float) -> None:
        self._loop = loop
        self._now = loop.time
        self.seconds = seconds
        self._writer: asyncio.Task[object] | None = None  # While a write is under way.
        self._began_s = 0.0
        self._timer: Timer | None = None
        self._is_over = False

    def begin(self, writer: asyncio.Task[object] | None) -> None:
        """A write begins in this task."""
        self._writer = writer
        self._began_s = self._now()
        if self._timer is None:
            self._timer = self._loop.call_at(self._began_s + self.seconds, self._look)

    def end(self) -> bool:
        """The write is over, however it ended; whether that was because it took too long."""
        writer, self._writer = self._writer, None
        if not self._is_over:
            return False
        self._is_over = False
        # Of a task that somebody else has cancelled too, the cancellation stands.
        return writer is not None and writer.uncancel() == 0

    def close(self) -> None:
        """The stream is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._writer is None:
            return
        ends_s = self._began_s + self.seconds
        if ends_s > self._now():
            self._timer = self._loop.call_at(ends_s, self._look)
        else:
            self._is_over = True
            self._writer.cancel()

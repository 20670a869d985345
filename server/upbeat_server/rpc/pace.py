"""How fast frames without work are read from one stream.

A frame costs the loop about a tenth of a millisecond whatever it says, and one
stream can send a million heartbeats a second. Those with work are bounded by what
they cause; those without are read at a pace, and behind it flow control holds the
peer. An agent of good will sends one in seconds and never notices.
"""

from __future__ import annotations

import asyncio

BURST_S = 1.0
"""What was not used of this time may be used at once."""


class Pace:
    """The pace of one stream."""

    def __init__(self, per_second: float) -> None:
        self._interval_s = 1 / per_second
        self._paid_until_s = 0.0

    async def keep(self) -> None:
        """A frame without work was read; wait before the next one if there were too many of them."""
        delay_s = self.delay_s(asyncio.get_running_loop().time())
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    def delay_s(self, now_s: float) -> float:
        """Count a frame without work; how long to wait before the next read."""
        self._paid_until_s = max(self._paid_until_s, now_s) + self._interval_s
        return max(self._paid_until_s - now_s - BURST_S, 0.0)

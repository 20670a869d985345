"""A clock that only moves when a test moves it."""

from __future__ import annotations

START_MS = 1_700_000_000_000


class HandClock:
    """Engine time by hand; entropy counts up."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._now_ms = start_ms
        self._entropy = 0

    def now_ms(self) -> int:
        """Where the hand was put."""
        return self._now_ms

    def entropy(self) -> int:
        """Another number every time."""
        self._entropy += 1
        return self._entropy * 0x9E3779B97F4A7C15 & (1 << 64) - 1

    def worked_s(self) -> float:
        """A server by hand is never under pressure."""
        return 0.0

    def advance_to(self, floor_ms: int) -> None:
        """Never below what was committed."""
        self._now_ms = max(self._now_ms, floor_ms)

    def move(self, milliseconds: int) -> None:
        """Let time pass."""
        self._now_ms += milliseconds

"""Counting in a steady state: only what comes back in a fixed time after a warm-up."""

from __future__ import annotations

import time

WINDOWS_MIN = 3
"""What is under way may come back in waves: less than a few of them would be a matter of luck."""


class Steady:
    """Counts from the first thing that comes back after the warm-up; says ``steady`` then, for the parent.

    Where ``window`` things are under way at once, the warm-up lasts until as many have come back, and the
    count until it has seen three times as many, even if that takes longer.
    """

    def __init__(self, warm_up_s: float, seconds: float, window: int = 0) -> None:
        self._begin_at = time.perf_counter() + warm_up_s
        self._seconds = seconds
        self._window = window
        self._warming = 0
        self._began = 0.0
        self._ended = 0.0
        self._by_second = [0]
        self._counted = 0

    @property
    def has_begun(self) -> bool:
        """Whether what comes back counts."""
        return self._began > 0

    def add(self, count: int) -> bool:
        """Something came back. Answers whether the time is over."""
        now = time.perf_counter()
        if not self._began:
            self._warming += count
            if now >= self._begin_at and self._warming >= self._window:
                self._began = now
                print("steady", flush=True)  # The parent reads clocks of processes now.
            return False
        self._counted += count
        self._ended = now
        elapsed = now - self._began
        while len(self._by_second) <= elapsed:
            self._by_second.append(0)
        self._by_second[int(elapsed)] += count
        return elapsed >= self._seconds and self._counted >= WINDOWS_MIN * self._window

    def result(self) -> dict[str, float]:
        """What it came to: how many, in how many seconds, and in the slowest whole second."""
        return {
            "counted": float(self._counted),
            "seconds": self._ended - self._began,
            "slowest_second": float(min(self._by_second[:-1], default=0)),
        }

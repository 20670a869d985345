"""Counting in a steady state: only what comes back in a fixed time after a warm-up."""

from __future__ import annotations

import time


class Steady:
    """Counts from the first thing that comes back after the warm-up; says ``steady`` then, for the parent."""

    def __init__(self, warm_up_s: float, seconds: float) -> None:
        self._begin_at = time.perf_counter() + warm_up_s
        self._seconds = seconds
        self._began = 0.0
        self._ended = 0.0
        self._by_second = [0] * (int(seconds) + 1)
        self._counted = 0

    @property
    def has_begun(self) -> bool:
        """Whether what comes back counts."""
        return self._began > 0

    def add(self, count: int) -> bool:
        """Something came back. Answers whether the time is over."""
        now = time.perf_counter()
        if not self._began:
            if now >= self._begin_at:
                self._began = now
                print("steady", flush=True)  # The parent reads clocks of processes now.
            return False
        self._counted += count
        self._ended = now
        elapsed = now - self._began
        self._by_second[min(int(elapsed), len(self._by_second) - 1)] += count
        return elapsed >= self._seconds

    def result(self) -> dict[str, float]:
        """What it came to: how many, in how many seconds, and in the slowest whole second."""
        return {
            "counted": float(self._counted),
            "seconds": self._ended - self._began,
            "slowest_second": float(min(self._by_second[: int(self._seconds)], default=0)),
        }

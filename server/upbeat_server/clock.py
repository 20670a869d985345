"""The server's only reader of clocks and of randomness.

Engine time is the wall clock when the clock was made plus the monotonic time
since: a step of the wall clock expires nothing. It never lies below what a store
has seen: ``advance_to`` moves it up when a namespace is adopted.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Protocol

SCHEDULE = Path("/proc/thread-self/schedstat")


class Clock(Protocol):
    """Where the time and the randomness of the engine come from."""

    def now_ms(self) -> int:
        """Engine time in milliseconds since 1970; never goes back."""

    def entropy(self) -> int:
        """64 bits, new with every call."""

    def worked_s(self) -> float:
        """Seconds that the calling thread has had a processor, or waited for one."""

    def advance_to(self, floor_ms: int) -> None:
        """From now on, answer nothing below ``floor_ms``."""


class SystemClock:
    """The clock of a real server."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ms(self) -> int:
        """Engine time in milliseconds since 1970; never goes back."""
        return (time.monotonic_ns() + self._offset_ns) // 1_000_000

    def entropy(self) -> int:
        """64 bits, new with every call."""
        return secrets.randbits(64)

    def worked_s(self) -> float:
        """Seconds that the calling thread has had a processor, or waited for one.

        Where the system does not tell who waits, the first alone.
        """
        try:
            ran_ns, waited_ns, _ = map(int, SCHEDULE.read_bytes().split())
        except OSError:
            ran_ns = waited_ns = 0
        return (ran_ns + waited_ns) / 1e9 if ran_ns else time.thread_time()

    def advance_to(self, floor_ms: int) -> None:
        """From now on, answer nothing below ``floor_ms``."""
        lag_ms = floor_ms - self.now_ms()
        if lag_ms > 0:
            self._offset_ns += lag_ms * 1_000_000


def stopwatch_s() -> float:
    """Seconds of a clock that is good for measuring how long something took, and for that only."""
    return time.perf_counter()


def wall_ns() -> int:
    """Nanoseconds since 1970 by the wall clock, which may step: for what other systems are told."""
    return time.time_ns()


def incident_id() -> str:
    """A name for one defect, to find it in the log again."""
    return secrets.token_hex(6)

"""Rates and distributions over recent time, bounded in memory and cheap to feed.

Both are fed on the loop's hot path: adding costs some 0.3 us, reading may cost a
millisecond. Time is an argument, in seconds of a monotonic clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import repeat, takewhile
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RATE_SPAN_S: Final = 300
SAMPLES_MAX: Final = 1_024
"""Sorting them is most of what a look at the figures costs: 0.2 ms a distribution."""
SAMPLE_AGE_S: Final = 300.0

SECONDS: Final[tuple[float, ...]] = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0,
)  # fmt: skip
"""Upper bounds of buckets, from a quick commit to a long task."""


class Rate:
    """Events per second over windows that end now, at most ``RATE_SPAN_S`` long."""

    __slots__ = ("_buckets", "_seconds", "count")

    def __init__(self) -> None:
        self.count = 0  # Since it was made.
        # One bucket a second, and the second that each stands for.
        self._buckets = [0] * (RATE_SPAN_S + 1)
        self._seconds = [-1] * (RATE_SPAN_S + 1)

    def add(self, events: int, now_s: float) -> None:
        """``events`` more, now."""
        self.count += events
        second = int(now_s)
        index = second % (RATE_SPAN_S + 1)
        if self._seconds[index] == second:
            self._buckets[index] += events
        else:
            self._seconds[index] = second
            self._buckets[index] = events

    def per_second(self, window_s: int, now_s: float) -> float:
        """Mean over the last ``window_s`` whole seconds, the running one left out."""
        last = int(now_s)
        total = 0
        for second in range(last - window_s, last):
            index = second % (RATE_SPAN_S + 1)
            if self._seconds[index] == second:
                total += self._buckets[index]
        return total / window_s


class Summary(msgspec.Struct, frozen=True):
    """Percentiles of a window of recent samples, in seconds."""

    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    largest: float = 0.0
    count: int = 0


class Distribution:
    """Durations: buckets over all time for Prometheus, and the last samples for percentiles."""

    __slots__ = ("_recent", "bounds", "buckets", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)  # The last one is beyond all bounds.
        self.sum = 0.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=SAMPLES_MAX)

    def add(self, seconds: float, now_s: float) -> None:
        """One more sample, now."""
        self.buckets[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds
        self._recent.append((now_s, seconds))

    def add_all(self, samples_s: Sequence[float], now_s: float) -> None:
        """More samples, now."""
        bounds, buckets = self.bounds, self.buckets
        for seconds in samples_s:
            buckets[bisect_left(bounds, seconds)] += 1
        self.sum += sum(samples_s)
        self._recent.extend(zip(repeat(now_s), samples_s, strict=False))

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus wants them: upper bound and how many lie below it."""
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.buckets, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets

    def summary(self, now_s: float) -> Summary:
        """Percentiles of at most ``SAMPLES_MAX`` samples, none older than ``SAMPLE_AGE_S``."""
        recent = self._recent
        while recent and recent[0][0] < now_s - SAMPLE_AGE_S:
            recent.popleft()
        return _summary(recent)

    def summary_since(self, since_s: float) -> Summary:
        """Percentiles of the samples after ``since_s``, at most the last ``SAMPLES_MAX`` of them."""
        return _summary(takewhile(lambda sample: sample[0] > since_s, reversed(self._recent)))


def _summary(timed_samples: Iterable[tuple[float, float]]) -> Summary:
    samples = sorted(seconds for _, seconds in timed_samples)
    if not samples:
        return Summary()
    count = len(samples)

    def percentile(share: float) -> float:
        return samples[min(count - 1, int(share * count))]

    return Summary(percentile(0.5), percentile(0.9), percentile(0.99), samples[-1], count)

"""Rates, histograms and percentiles, bounded in memory and cheap to feed.

All are fed on the loop's hot path: adding costs some 0.3 us, reading may cost a
millisecond. Time is an argument, in seconds of a monotonic clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from itertools import accumulate, repeat, takewhile
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


class Buckets:
    """Durations counted by how long they were, over all time: a histogram for Prometheus."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # The last one is beyond all bounds.
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """One more sample."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def add_all(self, samples_s: Sequence[float]) -> None:
        """More samples."""
        bounds, counts = self.bounds, self.counts
        for seconds in samples_s:
            counts[bisect_left(bounds, seconds)] += 1
        self.sum += sum(samples_s)

    def merge(self, other: Buckets) -> None:
        """The samples of another one with the same bounds too."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus wants them: upper bound and how many lie below it."""
        bounds = (*map(str, self.bounds), "+Inf")
        return list(zip(bounds, accumulate(self.counts), strict=True))


class Recent:
    """The last durations, for percentiles."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES_MAX)

    def add(self, seconds: float, now_s: float) -> None:
        """One more sample, now."""
        self._samples.append((now_s, seconds))

    def add_all(self, samples_s: Sequence[float], now_s: float) -> None:
        """More samples, now."""
        self._samples.extend(zip(repeat(now_s), samples_s, strict=False))

    def summary(self, now_s: float) -> Summary:
        """Percentiles of at most ``SAMPLES_MAX`` samples, none older than ``SAMPLE_AGE_S``."""
        recent = self._samples
        while recent and recent[0][0] < now_s - SAMPLE_AGE_S:
            recent.popleft()
        return _summary(recent)

    def summary_since(self, since_s: float) -> Summary:
        """Percentiles of the samples after ``since_s``, at most the last ``SAMPLES_MAX`` of them."""
        return _summary(takewhile(lambda sample: sample[0] > since_s, reversed(self._samples)))


def _summary(timed_samples: Iterable[tuple[float, float]]) -> Summary:
    samples = sorted(seconds for _, seconds in timed_samples)
    if not samples:
        return Summary()
    count = len(samples)

    def percentile(share: float) -> float:
        return samples[min(count - 1, int(share * count))]

    return Summary(percentile(0.5), percentile(0.9), percentile(0.99), samples[-1], count)


class Distribution:
    """Durations both over all time and lately."""

    __slots__ = ("_recent", "buckets")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.buckets = Buckets(bounds)
        self._recent = Recent()

    def add(self, seconds: float, now_s: float) -> None:
        """One more sample, now."""
        self.buckets.add(seconds)
        self._recent.add(seconds, now_s)

    def summary(self, now_s: float) -> Summary:
        """Percentiles of those that were added lately."""
        return self._recent.summary(now_s)

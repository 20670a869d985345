"""Timers as data, in buckets: one timer a key, O(1) to set and to clear, no dead entries.

Due times are rounded up to a bucket of ``BUCKET_MS``, so a timer fires at most
that much late and never early. A heap of bucket times alone would keep the
entries of timers that were cleared (60 s timeouts at 20,000 tasks/s leave
1.2 million of them), and dicts that were emptied keep their size; here a cleared
timer is gone at once, and so is a bucket with its last one. What remains is one
number in the heap, and those are cleaned out when they outweigh the buckets.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

BUCKET_MS = 10
WAKE_NEVER = 1 << 62
"""Later than any time."""

DEAD_TIMES_MAX = 1_024
"""Times of empty buckets that the heap may hold however few buckets there are."""


class Timers:
    """Keys and when they are due. A key is a number of the caller's choice."""

    __slots__ = ("_buckets", "_count", "_times")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[int, None]] = {}
        self._times: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def set(self, key: int, due_ms: int) -> int:
        """Arm ``key``, which must not be armed. Answers the rounded time, needed to clear it."""
        bucket_ms = -(-due_ms // BUCKET_MS) * BUCKET_MS
        bucket = self._buckets.get(bucket_ms)
        if bucket is None:
            bucket = self._buckets[bucket_ms] = {}
            heappush(self._times, bucket_ms)
        bucket[key] = None
        self._count += 1
        return bucket_ms

    def clear(self, key: int, bucket_ms: int) -> None:
        """Disarm ``key``; ``bucket_ms`` is what ``set`` answered."""
        bucket = self._buckets.get(bucket_ms)
        if bucket is None or key not in bucket:
            return
        del bucket[key]
        self._count -= 1
        if not bucket:
            del self._buckets[bucket_ms]
            if len(self._times) > 2 * len(self._buckets) + DEAD_TIMES_MAX:
                self._times = list(self._buckets)
                heapify(self._times)

    def due(self, now_ms: int) -> list[int]:
        """Take out all keys that are due, in the order of their buckets and of arming."""
        keys: list[int] = []
        while self._times and self._times[0] <= now_ms:
            bucket = self._buckets.pop(heappop(self._times), None)
            if bucket is not None:
                self._count -= len(bucket)
                keys.extend(bucket)
        return keys

    @property
    def next_ms(self) -> int | None:
        """When the next key is due; None if there is none."""
        while self._times and self._times[0] not in self._buckets:
            heappop(self._times)
        return self._times[0] if self._times else None

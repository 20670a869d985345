"""The smallest of numbers that come and go."""

from __future__ import annotations

from heapq import heapify, heappop, heappush


class Smallest:
    """Numbers, each as often as it was added; 0 is none and does not count."""

    __slots__ = ("_counts", "_heap")

    def __init__(self) -> None:
        self._counts: dict[float, int] = {}
        self._heap: list[float] = []

    def add(self, number: float) -> None:
        """Add a number."""
        if number:
            count = self._counts.get(number, 0)
            self._counts[number] = count + 1
            if not count:
                if len(self._heap) > 2 * len(self._counts) + 64:
                    self._heap = list(self._counts)
                    heapify(self._heap)
                else:
                    heappush(self._heap, number)

    def remove(self, number: float) -> None:
        """Remove a number that was added."""
        if number:
            self._counts[number] -= 1
            if not self._counts[number]:
                del self._counts[number]

    @property
    def value(self) -> float:
        """The smallest; 0 if there is none."""
        while self._heap and self._heap[0] not in self._counts:
            heappop(self._heap)
        return self._heap[0] if self._heap else 0

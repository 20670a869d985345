"""How hard the loop works: what its choices of agents may depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE_S = 0.02
"""Between two looks at the clocks: a look asks the system."""

SPAN_S = 0.2
"""What happened longer ago hardly counts."""


class Pressure:
    """Share of its time that a thread has worked lately, averaged exponentially.

    Time that it waited for events or for the disk is not worked; time that it waited for a processor is.
    ``time`` and ``worked`` are in seconds.
    """

    def __init__(self, time: Callable[[], float], worked: Callable[[], float]) -> None:
        self._time = time
        self._worked = worked
        self._time_s = time()
        self._worked_s = worked()
        self.share = 0.0  # From 0 to 1.

    def measure(self) -> float:
        """The share as of now."""
        now_s = self._time()
        span_s = now_s - self._time_s
        if span_s >= SAMPLE_S:
            worked_s = self._worked()
            share = min(1.0, (worked_s - self._worked_s) / span_s)
            self.share += (share - self.share) * min(1.0, span_s / SPAN_S)
            self._time_s, self._worked_s = now_s, worked_s
        return self.share

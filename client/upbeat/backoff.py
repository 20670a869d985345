"""How long to wait before trying again: exponential, with full jitter.

Full jitter (AWS, "Exponential backoff and jitter") draws evenly from zero to
the bound, so that a thousand agents that lost one server come back spread out.
"""

from __future__ import annotations

import random

RNG = random.Random()
"""Where jitter comes from, of the whole process; a simulation seeds it."""


class Backoff:
    """Delays that grow while things go wrong; `reset` once they go right."""

    def __init__(self, *, base_s: float = 0.25, max_s: float = 5.0, rng: random.Random | None = None) -> None:
        self.base_s = base_s
        self.max_s = max_s
        self.failures = 0
        self._rng = rng or RNG

    def next_s(self, at_least_s: float = 0.0) -> float:
        """The next delay; never below `at_least_s`, which is what a server asked for."""
        bound_s = min(self.max_s, self.base_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return at_least_s + self._rng.uniform(0.0, bound_s)

    def reset(self) -> None:
        """It went right: the next delay is a short one."""
        self.failures = 0


class Patience:
    """Whether and when to try again: for so long, counted from when it began to go wrong."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._backoff = Backoff()
        self._failing_since_s: float | None = None

    def worked(self) -> None:
        """It went right."""
        self._failing_since_s = None
        self._backoff.reset()

    def next_s(self, now_s: float, at_least_s: float | None) -> float | None:
        """It went wrong: the delay before the next try, or None if it has gone wrong for too long."""
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        left_s = self._failing_since_s + self._patience_s - now_s
        asked_s = at_least_s or 0.0
        if left_s <= asked_s:
            return None
        return min(self._backoff.next_s(asked_s), left_s)  # The last try is at the end of it.

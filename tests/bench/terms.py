"""How long scenarios measure, and what they were told on the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """Terms of one run of the benchmark."""

    is_quick: bool = False
    rate: float = 0.0
    """Tasks a second of the work beside which latencies are measured; 0: half of what was measured."""

    @property
    def warm_up_s(self) -> float:
        """How long everything runs before anything counts."""
        return 1.0 if self.is_quick else 3.0

    @property
    def seconds(self) -> float:
        """How long throughput is counted."""
        return 3.0 if self.is_quick else 8.0

    @property
    def latency_seconds(self) -> float:
        """How long latencies of one at a time are taken."""
        return 1.0 if self.is_quick else 6.0

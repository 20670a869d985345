"""What is told of the latencies of a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 0.1
"""Share of the requests, the first ones, that is replayed and not counted."""

P99, MEAN, EXTRA = "p99_s", "mean_s", "extra_runs"


def figures(latencies_ms: Sequence[int], attempts: int = 0) -> dict[str, float]:
    """Latencies in seconds after the warm-up, and runs beyond one a request as a share of all."""
    seconds = [latency / 1_000 for latency in latencies_ms[int(WARM_UP * len(latencies_ms)) :]]
    return {
        "p50_s": percentile(seconds, 0.5),
        P99: percentile(seconds, 0.99),
        MEAN: sum(seconds) / len(seconds),
        EXTRA: max(0, attempts - len(latencies_ms)) / len(latencies_ms),
    }

"""What figures and ratios have to come to. A target that is not met is shown, and fails nothing."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.ratios import DURABLE, FSYNCING, MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Target:
    """A bound of a figure, in its unit."""

    comparison: str
    bound: float

    def is_met(self, value: float) -> bool:
        """Whether a value is within it."""
        return COMPARISONS[self.comparison](value, self.bound)

    def __str__(self) -> str:
        return f"{self.comparison} {self.bound:,.10g}"


TARGETS: Mapping[str, Target] = {
    DURABLE: Target(">=", 20_000),
    MEMORY: Target(">=", 35_000),
    "throughput.durable.500x16": Target(">=", 12_000),
    "throughput.durable.2000x8": Target(">=", 6_000),
    f"{DURABLE} / relay.batched": Target(">=", 0.35),
    f"{DURABLE} / JetStream": Target(">=", 2.5),
    f"{DURABLE} / {FSYNCING}": Target(">=", 50),
    f"{MEMORY} / relay.batched": Target(">=", 0.6),
    f"{MEMORY} / NATS core": Target(">", 1),
    f"{MEMORY} / Ray": Target(">=", 20),
    f"{MEMORY} / AutoGen": Target(">=", 20),
    f"{MEMORY} / Dask": Target(">=", 20),
    "closed_loop.memory.p50 / relay.single.p50": Target("<=", 1.3),
    "half_load.submit.p99": Target("<", 10),
    "half_load.get.p99": Target("<", 5),
    "half_load.queue_to_agent.p99": Target("<", 10),
    "dispatch.largest": Target("<=", 30),
    "dispatch.spread": Target("<=", 3),
    "agents.10000.welcome": Target("<=", 30),
    "agents.10000.bytes_each": Target("<=", 60_000),
    "agents.10000.idle_cpu": Target("<=", 0.4),
    "queued.1000000.bytes_each": Target("<=", 1_536),
    "queued.1000000.restart": Target("<=", 30),
    "collaborations.consensus": Target(">=", 2_000),
    "collaborations.pipeline": Target(">=", 5_000),
}

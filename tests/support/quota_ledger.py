"""What tasks that name limits really used, counted apart from the engine's own counts.

Who runs is read from the tasks and from what agents hold, and starts are remembered over restarts of
the server: for all of them together nothing may be exceeded.
"""

from __future__ import annotations

from collections import defaultdict
from math import ceil
from typing import TYPE_CHECKING

from upbeat_server.engine.leases import current_lease
from upbeat_server.engine.model import TaskState

if TYPE_CHECKING:
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.task import Task


class Numbers:
    """The smallest that unfinished tasks name for a key, and since when."""

    def __init__(self, max_running: int, per_second: float, since_ms: int) -> None:
        self.max_running = max_running
        self.per_second = per_second
        self.since_ms = since_ms


class QuotaLedger:
    """Every start of a task that names limits, over all lives of a server."""

    def __init__(self) -> None:
        self._starts: defaultdict[str, list[int]] = defaultdict(list)
        self._numbers: dict[str, Numbers] = {}
        self._epoch = 0
        self._keys_of: dict[int, tuple[str, ...]] = {}  # By lease.

    def granted(self, engine: Engine, task: Task) -> list[str]:
        """A task that names limits was handed out; answers what was exceeded."""
        self.lives(engine)
        faults = []
        self._keys_of[current_lease(task)] = tuple(limit.key for limit in task.spec.limits)
        for limit in task.spec.limits:
            key = limit.key
            numbers = self._now(engine, key)
            self._starts[key].append(engine.clock_ms)
            running = self._running(engine, key)
            if 0 < numbers.max_running < running:
                faults.append(f"{running} of {numbers.max_running} run under the limit {key}")
            tokens = ceil(numbers.per_second)
            if tokens:
                after_ms = max(engine.clock_ms - 1000 * tokens / numbers.per_second, numbers.since_ms - 1)
                starts = sum(start_ms > after_ms for start_ms in self._starts[key])
                if starts > tokens:
                    faults.append(f"{starts} starts, {numbers.per_second:g} a second is the limit {key}")
        return faults

    def lives(self, engine: Engine) -> None:
        """To be told before the first step of every life, while its clock is where it began.

        What the last life handed out later than that was never durable, and never left.
        """
        if engine.epoch != self._epoch:
            self._epoch = engine.epoch
            for key, starts in self._starts.items():
                self._starts[key] = [start_ms for start_ms in starts if start_ms <= engine.clock_ms]

    def _now(self, engine: Engine, key: str) -> Numbers:
        named = [limit for other in engine.tasks.values() for limit in other.spec.limits if limit.key == key]
        most = min((limit.max_running for limit in named if limit.max_running), default=0)
        rate = min((limit.per_second for limit in named if limit.per_second), default=0.0)
        numbers = self._numbers.get(key)
        if numbers is None:
            numbers = self._numbers[key] = Numbers(most, rate, 0)
        elif (numbers.max_running, numbers.per_second) != (most, rate):
            numbers = self._numbers[key] = Numbers(most, rate, engine.clock_ms)
        return numbers

    def _running(self, engine: Engine, key: str) -> int:
        running = sum(
            other.record.state == TaskState.RUNNING and any(limit.key == key for limit in other.spec.limits)
            for other in engine.tasks.values()
        )
        stopping = sum(
            task is None and key in self._keys_of.get(lease_id, ())
            for agent in engine.fleet.agents.values()
            for lease_id, task in agent.leases.items()
        )
        return running + stopping

"""``python -m tests.bench.dispatch_cost``: what handing out one task costs the engine, in microseconds.

No server, no store, no network: an engine in this process with so many queued tasks (200 requirements,
four classes, 100 fairness keys) and so many agents (up to 500 profiles) that are all full. Again and
again some attempts end and as many tasks come, which is not counted, and then a turn hands out what it
can, which is: processor time of the turn by the number of tasks that it handed out. The cost must depend
on neither number.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from typing import TYPE_CHECKING

from tests.bench.figures import Figure, table
from tests.support.lines import submission
from upbeat_server.engine.commands import Assign, Welcome
from upbeat_server.engine.engine import Engine
from upbeat_server.engine.events import (
    AgentConnected,
    AgentFrame,
    AttemptAcked,
    AttemptEnded,
    Submission,
    TasksSubmitted,
    TurnEnded,
)
from upbeat_server.engine.limits import Bounds, Graces, Limits
from upbeat_server.engine.model import Payload, TaskSpec
from upbeat_server.engine.step import step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.terms import Terms
    from upbeat_server.engine.model import SessionId

QUEUED = (1_000, 100_000, 1_000_000)
AGENTS = (10, 1_000, 10_000)
TYPES, REGIONS, ZONES, KEYS = 20, 10, 50, 100
SLOTS = 4
BATCH = 40
"""Attempts that end before a turn; of ten agents all."""
WARM_UP_TURNS = 50
ROUNDS = 5
START_MS = 1_000_000
DAY_MS = 86_400_000
DONE = Payload(data=b"done")


class Stage:
    """An engine whose agents are full, and what is queued behind them."""

    def __init__(self, queued: int, agents: int) -> None:
        bounds = Bounds(queue_tasks_max=10_000_000, agents_max=100_000)
        graces = Graces(suspect_after_ms=DAY_MS, lease_timeout_ms=DAY_MS, ack_timeout_ms=DAY_MS)
        self.engine = Engine("bench", Limits(bounds, graces), epoch=1, clock_ms=START_MS)
        self.now_ms = START_MS
        self._specs = list(_submissions())
        self._next = 0
        self._held: dict[int, SessionId] = {}  # Leases with their sessions, the oldest first.
        for number in range(agents):
            self._connect(number)
        self.submit(queued + agents * SLOTS)
        while self.hand_out()[0] or self.engine.turn_wanted_ms:
            pass  # Requirements are matched in slices.

    def _connect(self, number: int) -> None:
        types = [f"t{each}" for each in range(TYPES)]
        labels = {"region": f"r{number % REGIONS}", "zone": f"z{number // REGIONS % ZONES}"}
        commands = step(
            self.engine, AgentConnected(0, f"a{number}", f"a{number}", types, labels, SLOTS), self.now_ms
        )
        assert any(isinstance(command, Welcome) for command in commands)

    def submit(self, count: int) -> None:
        """So many more tasks."""
        specs, first = self._specs, self._next
        self._next += count
        for start in range(first, first + count, 1_000):
            batch = [specs[number % len(specs)] for number in range(start, min(start + 1_000, first + count))]
            step(self.engine, TasksSubmitted(0, batch), self.now_ms)

    def end_some(self, count: int) -> int:
        """The oldest attempts end; answers how many."""
        leases = list(self._held)[:count]
        for lease_id in leases:
            session_id = self._held.pop(lease_id)
            acks, results = [AttemptAcked(lease_id, accepted=True)], [AttemptEnded(lease_id, DONE)]
            step(self.engine, AgentFrame(session_id, acks=acks, results=results), self.now_ms)
        return len(leases)

    def hand_out(self) -> tuple[int, float]:
        """One turn; answers how many tasks it handed out, and its seconds of processor time."""
        self.now_ms += 1
        event = TurnEnded(self.now_ms)
        began = time.thread_time()
        commands = step(self.engine, event, self.now_ms)
        took_s = time.thread_time() - began
        before = len(self._held)
        for command in commands:
            if isinstance(command, Assign):
                self._held[command.lease_id] = command.session_id
        return len(self._held) - before, took_s

    def turn(self) -> tuple[int, float]:
        """Some end, as many come, and a turn hands out."""
        self.submit(self.end_some(BATCH))
        return self.hand_out()


def _submissions() -> Iterator[Submission]:
    """Two hundred requirements of all classes and keys, mixed."""
    for number in range(TYPES * REGIONS * 4):
        region = f"r{number // TYPES % REGIONS}"
        spec = TaskSpec(
            f"t{number % TYPES}",
            selector=region,
            priority=1 + number // (TYPES * REGIONS) % 4,
            fairness_key=f"k{number * 7 % KEYS}",
        )
        made = submission(spec)
        made.predicate = lambda labels, region=region: labels.get("region") == region
        yield made


def microseconds(queued: int, agents: int, turns: int) -> float:
    """What one task of a turn cost: the median over turns, in the best round, for noise only adds."""
    gc.disable()
    try:
        stage = Stage(queued, agents)
        for _ in range(WARM_UP_TURNS):
            stage.turn()
        return round(min(_median(stage, turns // ROUNDS) for _ in range(ROUNDS)), 2)
    finally:
        gc.enable()
        gc.collect()


def _median(stage: Stage, turns: int) -> float:
    costs = []
    for _ in range(turns):
        count, took_s = stage.turn()
        if count:
            costs.append(took_s * 1e6 / count)
    return statistics.median(costs)


def measure(terms: Terms) -> Iterator[Figure]:
    """One figure for each number of tasks and agents, and how far they are apart."""
    queued = QUEUED[:2] if terms.is_quick else QUEUED
    agents = AGENTS[:2] if terms.is_quick else AGENTS
    yield from measured(queued, agents, 200 if terms.is_quick else 1_000)


def measured(queued: tuple[int, ...], agents: tuple[int, ...], turns: int) -> Iterator[Figure]:
    """See ``measure``."""
    found = []
    for tasks in queued:
        for fleet in agents:
            cost = microseconds(tasks, fleet, turns)
            found.append(cost)
            yield Figure(f"dispatch.{tasks}q.{fleet}a", cost, "us")
    yield Figure("dispatch.largest", max(found), "us")
    yield Figure("dispatch.spread", round(max(found) / min(found), 2), "x")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="What handing out one task costs the engine.")
    parser.add_argument("--queued", type=int, nargs="+", default=QUEUED)
    parser.add_argument("--agents", type=int, nargs="+", default=AGENTS)
    parser.add_argument("--turns", type=int, default=1_000)
    given = parser.parse_args()
    print(table(list(measured(tuple(given.queued), tuple(given.agents), given.turns))))


if __name__ == "__main__":
    main()

"""What an engine holds, counted for stats and metrics."""

from __future__ import annotations

from collections import Counter
from heapq import nlargest
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.collaboration.modes import mode_name
from upbeat_server.engine.model import AgentState
from upbeat_server.engine.pausing import paused_types
from upbeat_server.engine.queue import CLASSES

if TYPE_CHECKING:
    from upbeat_server.engine.engine import Engine

CONNECTED = AgentState.CONNECTED
LIMITS_MAX = 100
"""Limits that are counted one by one: those that hold tasks back, then those that most tasks name."""


class BusCensus(msgspec.Struct, frozen=True):
    """The message bus: what happened since the server started, and what there is."""

    published: int = 0
    delivered: int = 0  # Repeats included.
    acked: int = 0
    redelivered: int = 0
    dead_lettered: int = 0
    topics: int = 0
    subscribers: int = 0
    messages: int = 0
    dead_letters: int = 0


class TypeCensus(msgspec.Struct):
    """The unfinished tasks of one type."""

    pending: int = 0
    queued: int = 0
    running: int = 0
    unserved: int = 0  # Of the queued ones: those that no agent which is there may have.

    @property
    def live(self) -> int:
        """All of them."""
        return self.pending + self.queued + self.running

    def add(self, other: TypeCensus) -> None:
        """Count the tasks of another one too."""
        self.pending += other.pending
        self.queued += other.queued
        self.running += other.running
        self.unserved += other.unserved


class LimitCensus(msgspec.Struct, frozen=True):
    """One limit that tasks share, and what is used of it."""

    key: str
    tasks: int = 0  # Unfinished ones that name it.
    running: int = 0
    max_running: int = 0  # 0: none is named.
    per_second: float = 0.0  # 0: none is named.
    starts: int = 0  # Within the last window.
    starts_max: int = 0
    window_ms: int = 0
    exhausted: bool = False


class Census(msgspec.Struct):
    """Counts of one namespace. Keys are the enums' numbers (TaskState, Priority, AgentState)."""

    live: dict[int, int]  # Unfinished tasks by state.
    finished: dict[int, int]  # Since the server started, by state.
    submitted: int
    attempts: dict[int, int]  # Ended attempts since the server started, by AttemptOutcome.
    retries: int
    leases_lost: int
    queue_depth: dict[int, int]  # By priority.
    oldest_age_ms: dict[int, int]  # By priority; since last queued; 0 for an empty class.
    agents: dict[int, int]  # By state.
    slots: int  # Of agents that can take work.
    slots_in_use: int
    queue_bytes: int
    signatures: int
    # By mode: those that run, and by final state those that ended since the server started.
    groups: dict[str, int] = {}
    groups_ended: dict[str, dict[int, int]] = {}
    hedges: int = 0
    wasted_ms: int = 0
    bus: BusCensus = BusCensus()
    types: dict[str, TypeCensus] = {}
    paused_types: tuple[str, ...] = ()  # Sorted.
    limits: tuple[LimitCensus, ...] = ()  # By key, at most LIMITS_MAX.


def census(engine: Engine, now_ms: int) -> Census:
    """Count. Costs as much as there are agents, lanes, fairness keys and tasks that stepped aside."""
    agents = engine.fleet.agents.values()
    # A pass for each figure, each of them the interpreter's own, takes two thirds of one loop of ours.
    states = Counter([agent.state for agent in agents])
    counters = engine.counters
    return Census(
        live=dict(counters.live),
        finished=dict(counters.finished),
        submitted=counters.submitted,
        attempts=dict(counters.attempts),
        retries=counters.retries,
        leases_lost=counters.leases_lost,
        queue_depth=_depths(engine),
        oldest_age_ms=_oldest_ages(engine, now_ms),
        agents={int(state): states[state] for state in AgentState},
        slots=sum([agent.slots for agent in agents if agent.state is CONNECTED]),
        slots_in_use=sum([len(agent.leases) for agent in agents]),
        queue_bytes=engine.queue_bytes,
        signatures=len(engine.queue.signatures),
        groups=dict(Counter(mode_name(group.collaboration) for group in engine.groups.values())),
        groups_ended={mode: dict(counts) for mode, counts in counters.collaborations.items()},
        hedges=counters.hedges,
        wasted_ms=counters.wasted_ms,
        bus=_bus(engine),
        types=_types(engine),
        paused_types=paused_types(engine),
        limits=_limits(engine, now_ms),
    )


def _bus(engine: Engine) -> BusCensus:
    bus, counters = engine.bus, engine.counters
    return BusCensus(
        counters.published,
        counters.delivered,
        counters.acked,
        counters.redelivered,
        counters.dead_lettered,
        len(bus.topics),
        len(bus.subscriptions),
        bus.shelf.stored,
        len(bus.dead_letters.letters),
    )


def _depths(engine: Engine) -> dict[int, int]:
    """Queued tasks by class, those that stepped aside included."""
    depths = {int(priority): depth for priority, depth in engine.queue.depth_by_priority.items()}
    for signature in engine.asides:
        for task in signature.aside:
            depths[task.spec.priority] += 1
    return depths


def _types(engine: Engine) -> dict[str, TypeCensus]:
    """The live types; a type may have several requirements."""
    types: dict[str, TypeCensus] = {}
    for (task_type, _, _), signature in engine.queue.signatures.items():
        counts = types.setdefault(task_type, TypeCensus())
        queued = signature.queued
        counts.pending += signature.pending
        counts.queued += queued
        counts.running += signature.live - signature.pending - queued
        if not signature.profiles:
            counts.unserved += queued
    return types


def _limits(engine: Engine, now_ms: int) -> tuple[LimitCensus, ...]:
    quotas = engine.quotas.by_key.values()
    shown = nlargest(LIMITS_MAX, quotas, key=lambda quota: (quota.shut, quota.live))
    return tuple(
        LimitCensus(
            key=quota.key,
            tasks=quota.live,
            running=quota.running,
            max_running=quota.max_running,
            per_second=quota.per_second,
            starts=quota.started(now_ms) if quota.tokens else 0,
            starts_max=quota.tokens,
            window_ms=quota.window_ms if quota.tokens else 0,
            exhausted=quota.shut,
        )
        for quota in sorted(shown, key=lambda quota: quota.key)
    )


def _oldest_ages(engine: Engine, now_ms: int) -> dict[int, int]:
    """Age of the longest waiting head of every fairness key, by class."""
    since_ms = dict.fromkeys((int(priority) for priority in CLASSES), now_ms)
    for signature in engine.queue.signatures.values():
        for priority, lane in signature.lanes.items():
            if lane.bins:
                first_ms = min([bin_.head().record.queued_since_ms for bin_ in lane.bins.values()])
                since_ms[priority] = min(since_ms[priority], first_ms)
    return {priority: now_ms - first_ms for priority, first_ms in since_ms.items()}

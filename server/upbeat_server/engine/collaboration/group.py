"""A collaboration that runs: its children, what it has used, and its mode.

The state only; what happens to it is in ``groups.py``. All of it can be made again
from the parent's record and the children's rows (``rebuild.py``).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.failures import shortened, size_of
from upbeat_server.engine.model import (
    NO_USAGE,
    Budget,
    ChildOutcome,
    Collaboration,
    Error,
    GroupRecord,
    TaskId,
    TaskState,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from upbeat_server.engine.collaboration.mode import Check, Move, Reducer, Release, Spawn
    from upbeat_server.engine.model import Predicate, TaskRecord, TaskSpec, Usage
    from upbeat_server.engine.task import Task

PARTIAL_BYTES_MAX = 1 << 20
"""Outputs and errors of children that a failed collaboration still tells, but for the first words of each."""

CHILDREN_TOLD_MAX = 1_000
"""Children that a result names."""

BUSY_BYTES_MAX = 64 << 20
"""What children that are at work together are given; with more, there is one at a time.

A thousand siblings may have the same large input, and each of them has its own copy in the store.
"""

_NO_BUDGET = Budget()

COMPLETED, FAILED = TaskState.COMPLETED, TaskState.FAILED


class Group:
    """The children of one task and the reducer that decides over them."""

    __slots__ = (
        "attempts",
        "budget",
        "busy_bytes",
        "checks",
        "collaboration",
        "cost_micros",
        "held",
        "is_bounded",
        "is_over",
        "largest",
        "live",
        "made",
        "made_below",
        "outcomes",
        "panels",
        "parent",
        "partial_bytes",
        "partial_truncated",
        "pending",
        "predicates",
        "record",
        "reducer",
        "reserve",
        "running",
        "seats",
        "short",
        "step",
        "task",
        "told",
        "usage",
        "waiting",
        "wake_ms",
    )

    def __init__(
        self,
        task: Task,
        collaboration: Collaboration,
        reducer: Reducer,
        parent: Group | None,
        compiled: tuple[Mapping[str, Predicate], Mapping[str, Check]],
    ) -> None:
        if task.record.group is None:
            task.record.group = GroupRecord()
        self.task = task
        self.record = task.record.group  # What is durable of it besides its children.
        self.collaboration = collaboration
        self.reducer = reducer
        self.parent = parent
        self.is_over = False  # Whether it has decided, or was cancelled.
        self.budget = collaboration.budget or _NO_BUDGET  # What it may use.
        # Whether it, or one above it, has a budget: most have none, and are asked with every attempt.
        self.is_bounded: bool = collaboration.budget is not None or (parent is not None and parent.is_bounded)
        self.predicates, self.checks = compiled
        self.live: dict[str, Task] = {}  # Children that have not ended, by key.
        self.held: dict[str, None] = {}  # Of them, those that wait for their release.
        self.busy_bytes = 0  # Of the specs of live children that are not held.
        self.made: dict[str, TaskId] = {}  # Every child there ever was, in the order of ordinals.
        # What max_concurrency holds back, first come first. One may be given up in the middle.
        self.waiting: OrderedDict[tuple[type, str], Spawn | Release] = OrderedDict()
        self.seats: dict[str, str] = {}  # Key to panel, of children that have one.
        self.panels: dict[str, dict[str, str]] = {}  # Panel to key to the agent that has the seat.
        self.pending: list[Move] = []  # Moves of a reducer that was rebuilt, not made before the crash.
        # The step of the last child that was made, and spec and size of its children: most are asked for
        # several times, or over and over.
        self.step: tuple[TaskSpec, TaskSpec, int] | None = None
        self.wake_ms = 0  # When the reducer wants to be woken; 0: never.
        self.reserve = 0  # Of a root: descendants that may be live at once.
        # What all descendants have used. Running is what may still change it.
        self.attempts = 0
        self.running = 0
        self.cost_micros = 0
        self.made_below = 0
        self.short: Error | None = None  # Why its budget held something back.
        self.told = 0  # Chunks sent to watchers.
        self.usage: Usage = NO_USAGE  # Of the children that have ended.
        self.outcomes: list[ChildOutcome] = []
        self.partial_bytes = 0
        self.partial_truncated = False
        self.largest: tuple[int, str] = (0, "")  # Bytes and key of the largest output.

    @property
    def is_open(self) -> bool:
        """Whether items may be appended."""
        return bool(getattr(self.reducer, "is_open", False))

    @property
    def concurrent(self) -> int:
        """Live children that count as concurrent."""
        return len(self.live) - len(self.held)

    @property
    def reserved_micros(self) -> int:
        """Cost that attempts under way are reserved with."""
        return self.running * self.budget.attempt_cost_micros

    def has_room(self, queue_bytes_left: int) -> bool:
        """Whether one child more may be at work; the first may whatever its size, so it goes on."""
        concurrent = len(self.live) - len(self.held)
        if not concurrent:
            return True
        is_small = self.busy_bytes < BUSY_BYTES_MAX and queue_bytes_left > 0
        return is_small and concurrent < self.collaboration.max_concurrency

    def lineage(self) -> Iterator[Group]:
        """The group and those above it, innermost first."""
        group: Group | None = self
        while group is not None:
            yield group
            group = group.parent

    def hold_back(self, move: Spawn | Release) -> None:
        """Let it wait behind all others."""
        self.waiting.setdefault((type(move), move.key), move)

    def next_waiting(self) -> Spawn | Release:
        """Take out what has waited longest; there must be something."""
        return self.waiting.popitem(last=False)[1]

    def taken_seats(self, key: str) -> set[str]:
        """Agents that siblings of the same panel have, or had."""
        panel = self.panels.get(self.seats.get(key, ""), {})
        if key not in panel:  # It was never handed out.
            return set(panel.values())
        return {agent_id for other, agent_id in panel.items() if other != key}

    def sit(self, key: str, agent_id: str) -> None:
        """An agent works, or worked, on a child of a panel."""
        panel = self.seats.get(key)
        if panel:
            self.panels.setdefault(panel, {})[key] = agent_id

    def note(self, record: TaskRecord, name: str) -> None:
        """A child has ended: count it, and keep what a failure would tell of it."""
        counts = self.record
        if record.state == COMPLETED:
            counts.completed += 1
        elif record.state == FAILED:
            counts.failed += 1
        else:
            counts.cancelled += 1
        counts.live = len(self.live)
        if record.usage is not NO_USAGE:
            self.usage = self.usage.plus(record.usage)
        output, error = record.output, record.error
        size = len(output.data) if output is not None else 0
        if size > self.largest[0]:
            self.largest = (size, name or record.member)
        if not self.collaboration.include_partial:
            return
        if len(self.outcomes) >= CHILDREN_TOLD_MAX:
            self.partial_truncated = True
            return
        if error is not None:
            size += size_of(error)
        if self.partial_bytes + size > PARTIAL_BYTES_MAX:
            output, error, size = None, shortened(error), 0
            self.partial_truncated = True
        self.partial_bytes += size
        self.outcomes.append(ChildOutcome(record.task_id, record.ordinal, record.state, name, output, error))

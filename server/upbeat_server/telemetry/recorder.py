"""What the runtime tells of itself, kept as figures for stats and metrics.

The one implementation of ``runtime/observer.py`` that a server uses. It is
called on the hot path: everything here is an addition. Counts of tasks, agents
and attempts are not kept here: the engine has them (``engine/census.py``).
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, TypeAlias

from upbeat_server.clock import stopwatch_s
from upbeat_server.engine.model import TaskState
from upbeat_server.telemetry.windows import Distribution, Rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat_server.engine.model import Attempt
    from upbeat_server.engine.task import Task

COMPLETED, FAILED = TaskState.COMPLETED, TaskState.FAILED


ATTEMPTS_KEPT: Final = 5_000
"""Ended attempts of a namespace: for looking at them, not a record."""


AgentAttempt: TypeAlias = "tuple[int, str, Attempt]"
"""An attempt with its task's id and type."""


class NamespaceFigures:
    """Rates, distributions and the last attempts of one namespace."""

    __slots__ = ("attempts", "completed", "failed", "run", "submitted", "total", "wait")

    def __init__(self) -> None:
        self.submitted = Rate()
        self.completed = Rate()
        self.failed = Rate()
        self.wait = Distribution()  # From submission to the first lease.
        self.run = Distribution()  # The accepted attempt.
        self.total = Distribution()  # From submission to the end.
        # Of tasks that have finished, in the order of their ends.
        self.attempts: deque[AgentAttempt] = deque(maxlen=ATTEMPTS_KEPT)


def _nothing() -> None:
    """Nobody listens."""


class Recorder:
    """The figures of a server since it started."""

    def __init__(self, stopwatch: Callable[[], float] = stopwatch_s) -> None:
        self._stopwatch = stopwatch
        self.namespaces: dict[str, NamespaceFigures] = {}  # The runtime bounds how many there are.
        self.turn = Distribution()
        self.commit = Distribution()
        self.dispatch = Distribution()
        self.events = 0
        self.rows = 0
        self.assigned_tasks = 0
        self.commits_failed: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()  # By namespace and reason.
        self.streams_ended: Counter[tuple[str, str]] = Counter()  # By kind and reason.
        self.store_healthy = True
        self.on_store_health: Callable[[], None] = _nothing
        self.began_s = stopwatch()

    def now_s(self) -> float:
        """The clock of all windows."""
        return self._stopwatch()

    def of(self, namespace: str) -> NamespaceFigures:
        """The figures of a namespace."""
        figures = self.namespaces.get(namespace)
        if figures is None:
            figures = self.namespaces[namespace] = NamespaceFigures()
        return figures

    def turned(self, seconds: float, events: int) -> None:
        """A turn of the loop is over."""
        self.turn.add(seconds, self._stopwatch())
        self.events += events

    def committed(self, seconds: float, rows: int) -> None:
        """A commit succeeded."""
        self.commit.add(seconds, self._stopwatch())
        self.rows += rows

    def commit_failed(self, reason: str) -> None:
        """A commit failed."""
        self.commits_failed[reason] += 1

    def submitted(self, namespace: str, tasks: int) -> None:
        """Submissions were accepted."""
        self.of(namespace).submitted.add(tasks, self._stopwatch())

    def refused(self, namespace: str, reason: str) -> None:
        """A submission was refused."""
        self.refusals[namespace, reason] += 1

    def assigned(self, namespace: str, tasks: int) -> None:  # noqa: ARG002
        """Assignments were handed to outboxes."""
        self.assigned_tasks += tasks

    def dispatched(self, seconds: float, tasks: int) -> None:  # noqa: ARG002
        """Assignments were taken by a stream's writer."""
        self.dispatch.add(seconds, self._stopwatch())

    def tasks_finished(self, namespace: str, tasks: list[Task]) -> None:
        """Tasks ended."""
        figures = self.of(namespace)
        now_s = self._stopwatch()
        totals_s: list[float] = []
        waits_s: list[float] = []
        runs_s: list[float] = []
        completed = failed = 0
        keep = figures.attempts.append
        for task in tasks:
            record = task.record
            create_ms, start_ms = record.create_ms, record.start_ms
            totals_s.append((record.end_ms - create_ms) / 1_000)
            if start_ms:
                waits_s.append((start_ms - create_ms) / 1_000)
            for attempt in record.attempts:
                keep((record.task_id, task.spec.type, attempt))
            if record.state == COMPLETED:
                completed += 1
                if record.attempts:
                    last = record.attempts[-1]  # The accepted one: nothing follows it.
                    runs_s.append((last.end_ms - last.start_ms) / 1_000)
            elif record.state == FAILED:
                failed += 1
        if completed:
            figures.completed.add(completed, now_s)
        if failed:
            figures.failed.add(failed, now_s)
        figures.total.add_all(totals_s, now_s)
        figures.wait.add_all(waits_s, now_s)
        figures.run.add_all(runs_s, now_s)

    def stream_ended(self, kind: str, reason: str) -> None:
        """The server ended a stream."""
        self.streams_ended[kind, reason] += 1

    def store_health(self, healthy: bool) -> None:
        """The store commits again, or no longer."""
        self.store_healthy = healthy
        self.on_store_health()
